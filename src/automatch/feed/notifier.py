"""Waking the streams of people whose feed changed or whose session ended.

There is one connection for all of them. A notification carries the ids of the people whose feed or
jobs have changed, and wakes their streams. After each new connection all are woken, because some
notifications may have been missed.

Where notifications do not come at all, as behind a pooler that keeps no connection, the notifier
still reads the feed versions of everyone who is connected now and then, and wakes those whose
version has changed. Versions are read from rows that a writer locks until it commits, so a version
that was read never hides one that commits later.

No stream of an ended session tells anything: each reads as its person, which the database refuses.
To be woken lets it end at once, and not at the next change of its feed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog

from automatch.background import run_together
from automatch.errors.store import StoreError
from automatch.model.jobs import Job
from automatch.model.people import Claims
from automatch.settings.server import FeedSettings
from automatch.store.accounts.accounts import list_ended_sessions
from automatch.store.database import Database
from automatch.store.matching.feed import FeedVersion, load_feed_versions
from automatch.store.notify import Channel, listen
from automatch.telemetry.metrics import ServerMetrics
from automatch.telemetry.traces import Span, Traces, job_key

_MIN_READ_INTERVAL_S = 0.02
"""Notifications of a burst are handled together: at most fifty reads a second."""
_SESSION_POLL_S = 2.0
"""How long a stream outlives its session when the notification of its end is lost."""

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class Subscriber:
    """What one stream or channel waits for."""

    claims: Claims
    wake: Callable[[], None]
    """Called when the person's feed or jobs changed, or the session ended."""
    has_ended: bool = False
    """Whether the session has ended."""


class FeedNotifier:
    """Wakes the streams of people whose feed or jobs changed, or who signed out."""

    def __init__(
        self,
        db: Database,
        settings: FeedSettings,
        metrics: ServerMetrics | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._db = db
        self._metrics = metrics or ServerMetrics()
        self._traces = traces
        self._settings = settings
        self._sessions_notified = asyncio.Event()
        self._subscribers: dict[UUID, set[Subscriber]] = {}
        self._streams: Counter[UUID] = Counter()
        self._versions: dict[UUID, FeedVersion | None] = {}
        """As polled; None for those who were woken by a notification since."""
        self.closing = asyncio.Event()
        """Set when the server stops, so that streams end and clients come back elsewhere."""

    def close(self) -> None:
        """End every stream."""
        self.closing.set()
        for subscriber in self._list_subscribers():
            subscriber.wake()

    def count_streams(self, profile_id: UUID) -> int:
        return self._streams[profile_id]

    def count_clients(self) -> tuple[int, int]:
        """Return the number of streams, and of channels of websockets."""
        streams = self._streams.total()
        return streams, len(self._list_subscribers()) - streams

    def note_end_told(self, job: Job, completed_at: datetime) -> None:
        """Note that the end of a job was written to an open stream of its person just now."""
        log.info("job told to its person", **job.log_fields)
        if self._traces is not None and job.request_id is not None:
            now = time.monotonic()
            lag = (datetime.now(UTC) - completed_at).total_seconds()
            self._traces.record(
                Span(
                    "deliver",
                    job.request_id,
                    now - max(0.0, lag),
                    now,
                    parent=job_key(job.id, job.attempts),
                    attributes={"job": str(job.id), "matches": job.match_count or 0},
                )
            )

    def note_delivery(self, committed_at: datetime, *, since: datetime) -> None:
        """Note that a match was written to an open stream just now, if it was made since then."""
        # What was there before was sent late because the reader came late, or has moved.
        if committed_at > since:
            lag = datetime.now(UTC) - committed_at
            self._metrics.deliveries.observe(max(0.0, lag.total_seconds()))

    def add(self, subscriber: Subscriber, *, as_stream: bool) -> None:
        """Wake a subscriber at each change from now on.

        Channels of a websocket do not count as streams; they have a limit of their own.
        """
        profile_id = subscriber.claims.subject
        assert profile_id is not None
        self._subscribers.setdefault(profile_id, set()).add(subscriber)
        self._streams[profile_id] += as_stream
        if self.closing.is_set():
            subscriber.wake()

    def remove(self, subscriber: Subscriber, *, as_stream: bool) -> None:
        """Wake it no more; more than once does no harm."""
        profile_id = subscriber.claims.subject
        assert profile_id is not None
        if subscriber not in self._subscribers.get(profile_id, ()):
            return
        self._streams[profile_id] -= as_stream
        if not self._streams[profile_id]:
            del self._streams[profile_id]
        self._subscribers[profile_id].discard(subscriber)
        if not self._subscribers[profile_id]:
            del self._subscribers[profile_id]
            self._versions.pop(profile_id, None)

    async def run(self) -> None:
        """Listen and poll until cancelled; a lost notification only delays a change."""
        readers: dict[Channel, Callable[[str | None], None]] = {
            "feed": self._on_feed_notification,
            "sessions": self._on_session_notification,
        }
        await run_together(
            feed_listener=listen(self._db.direct, readers, name="automatch-feed-listen"),
            feed_versions=self._repeat(self._read_versions, asyncio.Event(), self._settings.poll_s),
            ended_sessions=self._repeat(
                self._end_sessions, self._sessions_notified, _SESSION_POLL_S
            ),
        )

    def _on_feed_notification(self, ids: str | None) -> None:
        # Without ids it may be anybody: after a lost connection, or of a writer that does not say.
        changed = map(UUID, ids.split(",")) if ids else list(self._subscribers)
        for profile_id in changed:
            if profile_id in self._subscribers:
                self._versions[profile_id] = None
                for subscriber in self._subscribers[profile_id]:
                    subscriber.wake()

    def _on_session_notification(self, ids: str | None) -> None:
        if not ids:
            self._sessions_notified.set()
            return
        ended = set(map(UUID, ids.split(",")))
        for subscriber in self._list_subscribers():
            if subscriber.claims.session_id in ended:
                subscriber.has_ended = True
                subscriber.wake()

    async def _repeat(
        self, read: Callable[[], Awaitable[None]], notified: asyncio.Event, poll_s: float
    ) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(poll_s):
                    await notified.wait()
            notified.clear()
            try:
                await read()
            except StoreError as exc:
                log.warning("feeds wait for the database", code=exc.code)
            await asyncio.sleep(_MIN_READ_INTERVAL_S)

    def _list_subscribers(self) -> list[Subscriber]:
        return [each for subscribers in self._subscribers.values() for each in subscribers]

    async def _end_sessions(self) -> None:
        subscribers = self._list_subscribers()
        if not subscribers:
            return
        claims = [each.claims for each in subscribers]
        async with self._db.transaction() as conn:
            ended = await list_ended_sessions(conn, claims)
        for index in ended:
            # A channel may have been given the token of another session meanwhile.
            if subscribers[index].claims is claims[index]:
                subscribers[index].has_ended = True
                subscribers[index].wake()

    async def _read_versions(self) -> None:
        connected = list(self._subscribers)
        if not connected:
            return
        async with self._db.transaction() as conn:
            versions = await load_feed_versions(conn, connected)
        for version in versions:
            if version.profile_id not in self._subscribers:
                continue
            known = self._versions.get(version.profile_id, version.profile_id)
            self._versions[version.profile_id] = version
            if known is not None and known != version:
                for subscriber in self._subscribers[version.profile_id]:
                    subscriber.wake()
