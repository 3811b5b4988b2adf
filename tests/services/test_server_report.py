"""What a server tells of itself."""

from __future__ import annotations

from uuid import uuid4

import pytest

from automatch.feed.notifier import FeedNotifier
from automatch.model.people import Claims, Role
from automatch.services.server_report import ServerReport
from automatch.settings.database import PoolSettings
from automatch.settings.server import FeedSettings
from automatch.store.database import Database
from automatch.store.servers import list_servers
from automatch.telemetry.metrics import ServerMetrics

pytestmark = pytest.mark.anyio


async def test_each_server_tells_its_open_pages_until_it_stops(database) -> None:
    async with Database(database.api, PoolSettings(), name="test") as db:
        notifiers = [FeedNotifier(db, FeedSettings(), ServerMetrics()) for _ in range(2)]
        first, second = (ServerReport(db, notifier) for notifier in notifiers)

        async def told() -> list[tuple[int, int, bool]]:
            async with db.connection() as conn:
                servers = await list_servers(conn)
            return [(server.streams, server.channels, server.alive) for server in servers]

        her = Claims(Role.AUTHENTICATED, uuid4())
        with notifiers[0].subscribe(her), notifiers[0].subscribe(her, as_stream=False):
            with notifiers[0].subscribe(her):
                await first.report()
                await second.report()
                assert await told() == [(2, 1, True), (0, 0, True)]
            await first.report()
            assert await told() == [(1, 1, True), (0, 0, True)]
        await first.close()

        assert await told() == [(0, 0, True)]
