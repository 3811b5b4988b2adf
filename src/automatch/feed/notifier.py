"""Waking the streams of people whose feed changed, with one connection and one query for all.

A notification names nobody, so the notifier reads the feed version of everyone who is connected and
wakes those whose version has changed. Versions are read from rows that a writer locks until it
commits, so a version that was read never hides one that commits later.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from automatch.errors.store import StoreError
from automatch.settings.server import FeedSettings
from automatch.store.database import Database
from automatch.store.feed import FeedVersion, load_feed_versions
from automatch.store.notify import listen

_MIN_READ_INTERVAL_S = 0.02
"""Notifications of a burst are handled together: at most fifty reads a second."""

log = structlog.get_logger(__name__)


class FeedNotifier:
    """Wakes the streams of people whose feed or jobs changed."""

    def __init__(self, db: Database, settings: FeedSettings) -> None:
        self._db = db
        self._settings = settings
        self._notified = asyncio.Event()
        self._subscribers: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._streams: Counter[UUID] = Counter()
        self._versions: dict[UUID, FeedVersion] = {}
        self.closing = asyncio.Event()
        """Set when the server stops, so that streams end and clients come back elsewhere."""

    def close(self) -> None:
        """End every stream."""
        self.closing.set()
        for events in self._subscribers.values():
            for event in events:
                event.set()

    def count_streams(self, profile_id: UUID) -> int:
        return self._streams[profile_id]

    @contextmanager
    def subscribe(self, profile_id: UUID, *, as_stream: bool = True) -> Iterator[asyncio.Event]:
        """Give an event that is set when this person's feed or jobs changed; set from the start.

        Channels of a websocket do not count as streams; they have a limit of their own.
        """
        changed = asyncio.Event()
        changed.set()
        self._subscribers[profile_id].add(changed)
        self._streams[profile_id] += as_stream
        try:
            yield changed
        finally:
            self._streams[profile_id] -= as_stream
            if not self._streams[profile_id]:
                del self._streams[profile_id]
            self._subscribers[profile_id].discard(changed)
            if not self._subscribers[profile_id]:
                del self._subscribers[profile_id]
                self._versions.pop(profile_id, None)

    async def run(self) -> None:
        """Listen and poll until cancelled; a lost notification only delays a change."""
        async with asyncio.TaskGroup() as group:
            group.create_task(
                listen(self._db.conninfo, self._notified.set, name="automatch-feed-listen")
            )
            group.create_task(self._read_repeatedly())

    async def _read_repeatedly(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.poll_s):
                    await self._notified.wait()
            except TimeoutError:
                pass
            self._notified.clear()
            try:
                await self._read_versions()
            except StoreError as exc:
                log.warning("feeds wait for the database", code=exc.code)
            await asyncio.sleep(_MIN_READ_INTERVAL_S)

    async def _read_versions(self) -> None:
        connected = list(self._subscribers)
        if not connected:
            return
        async with self._db.transaction() as conn:
            versions = await load_feed_versions(conn, connected)
        for version in versions:
            # A new subscriber has no version yet; its event is set from the start.
            if self._versions.get(version.profile_id) == version:
                continue
            for event in self._subscribers.get(version.profile_id, ()):
                event.set()
            if version.profile_id in self._subscribers:
                self._versions[version.profile_id] = version
