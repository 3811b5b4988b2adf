"""The parts of the live feed in one server, with a pool of their own.

No request waits for a connection behind what open feeds read, and no feed behind uploads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

from automatch.background import BackgroundTasks
from automatch.feed.deliveries import Deliveries
from automatch.feed.notifier import FeedNotifier
from automatch.feed.pings import Pings
from automatch.feed.reader import FeedReader
from automatch.settings.server import FeedSettings
from automatch.store.database import Database
from automatch.telemetry.metrics import ServerMetrics
from automatch.telemetry.traces import Traces


@dataclass(frozen=True)
class LiveFeed:
    """What wakes streams, what they read with, and what notes that they were written to."""

    db: Database
    settings: FeedSettings
    notifier: FeedNotifier
    reader: FeedReader
    deliveries: Deliveries
    pings: Pings

    @classmethod
    def over(
        cls, db: Database, settings: FeedSettings, metrics: ServerMetrics, traces: Traces | None
    ) -> Self:
        """Return the live feed of a server, which opens and closes *db*."""
        notifier = FeedNotifier(db, settings, metrics, traces)
        pings = Pings(settings.ping_s)
        return cls(db, settings, notifier, FeedReader(db), Deliveries(db), pings)

    @asynccontextmanager
    async def running(self, background: BackgroundTasks) -> AsyncIterator[None]:
        """Wake and ping streams, and record deliveries, during the block."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.db)
            stack.push_async_callback(self.reader.close)
            await stack.enter_async_context(background.running("feeds", self.notifier.run))
            await stack.enter_async_context(background.running("pings", self.pings.run))
            stack.push_async_callback(self.deliveries.close)
            await stack.enter_async_context(background.running("deliveries", self.deliveries.run))
            yield
