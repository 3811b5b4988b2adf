"""Who has news: one connection that listens, one query for all connected people.

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

_GATHER_S = 0.02
"""Wake-ups of a burst are answered together: at most fifty looks a second."""

log = structlog.get_logger(__name__)


class FeedNotifier:
    """Wakes the streams of those people whose feed or jobs changed."""

    def __init__(self, db: Database, settings: FeedSettings) -> None:
        self._db = db
        self._settings = settings
        self._wake = asyncio.Event()
        self._watchers: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._streams: Counter[UUID] = Counter()
        self._marks: dict[UUID, FeedVersion] = {}
        self.closing = asyncio.Event()
        """Set when the server stops, so that streams end and clients come back elsewhere."""

    def close(self) -> None:
        """End every stream."""
        self.closing.set()
        for events in self._watchers.values():
            for event in events:
                event.set()

    def streams_of(self, profile_id: UUID) -> int:
        return self._streams[profile_id]

    @contextmanager
    def watch(self, profile_id: UUID, *, as_stream: bool = True) -> Iterator[asyncio.Event]:
        """Give an event that is set when this person has news; set from the start.

        Channels of a websocket are no streams: there is another limit to their number.
        """
        news = asyncio.Event()
        news.set()
        self._watchers[profile_id].add(news)
        self._streams[profile_id] += as_stream
        try:
            yield news
        finally:
            self._streams[profile_id] -= as_stream
            if not self._streams[profile_id]:
                del self._streams[profile_id]
            self._watchers[profile_id].discard(news)
            if not self._watchers[profile_id]:
                del self._watchers[profile_id]
                self._marks.pop(profile_id, None)

    async def run(self) -> None:
        """Listen and look until cancelled; a lost notification costs one poll."""
        async with asyncio.TaskGroup() as group:
            group.create_task(
                listen(self._db.conninfo, self._wake.set, name="automatch-feed-listen")
            )
            group.create_task(self._look_again_and_again())

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.poll_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._look()
            except StoreError as exc:
                log.warning("feeds wait for the database", code=exc.code)
            await asyncio.sleep(_GATHER_S)

    async def _look(self) -> None:
        connected = list(self._watchers)
        if not connected:
            return
        async with self._db.transaction() as conn:
            marks = await load_feed_versions(conn, connected)
        for mark in marks:
            # Someone who has just connected has no mark yet and looks by themselves.
            if self._marks.get(mark.profile_id) == mark:
                continue
            for event in self._watchers.get(mark.profile_id, ()):
                event.set()
            if mark.profile_id in self._watchers:
                self._marks[mark.profile_id] = mark
