"""What a server tells of itself."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from automatch.feed.notifier import FeedNotifier, Subscriber
from automatch.model.people import Claims, Role
from automatch.services.operation.server_report import ServerReport
from automatch.settings.database import PoolSettings
from automatch.settings.server import FeedSettings
from automatch.store.operation.history import load_history
from automatch.store.operation.servers import list_servers
from automatch.telemetry.metrics import ServerMetrics
from tests.support.build import connect, set_clock
from tests.support.kept_pools import KeptDatabase

pytestmark = pytest.mark.anyio


async def test_each_server_tells_its_open_pages_until_it_stops(database) -> None:
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        notifiers = [FeedNotifier(db, FeedSettings(), ServerMetrics()) for _ in range(2)]
        keys = {"secrets.json": "0123"}
        first, second = (
            ServerReport(db, each, ServerMetrics(), lambda: keys) for each in notifiers
        )

        async def told() -> list[tuple[int, int, bool]]:
            async with db.connection() as conn:
                servers = await list_servers(conn)
            assert all(server.keys == keys for server in servers)
            return [(server.streams, server.channels, server.alive) for server in servers]

        her = Claims(Role.AUTHENTICATED, uuid4())
        tab, other_tab, app = (Subscriber(her, lambda: None) for _ in range(3))
        notifiers[0].add(tab, as_stream=True)
        notifiers[0].add(other_tab, as_stream=True)
        notifiers[0].add(app, as_stream=False)
        await first.report()
        await second.report()
        assert await told() == [(2, 1, True), (0, 0, True)]
        for _ in range(2):
            notifiers[0].remove(tab, as_stream=True)
        await first.report()
        assert await told() == [(1, 1, True), (0, 0, True)]
        notifiers[0].remove(other_tab, as_stream=True)
        notifiers[0].remove(app, as_stream=False)
        await first.close()

        assert await told() == [(0, 0, True)]


async def test_refused_uploads_of_all_servers_are_counted_once(database) -> None:
    # All in the same five minutes: of those before there is no history where there was no job.
    with connect(database.owner, autocommit=True) as conn:
        set_clock(conn, datetime.now(UTC))
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        all_metrics = [ServerMetrics() for _ in range(2)]
        reports = [
            ServerReport(db, FeedNotifier(db, FeedSettings()), metrics) for metrics in all_metrics
        ]
        for metrics, report in zip(all_metrics, reports, strict=True):
            metrics.upload_refusals.labels("image_damaged").inc()
            await report.report()
            metrics.upload_refusals.labels("queue_full").inc(2)
            await report.report()
            metrics.upload_refusals.labels("image_damaged").inc()
            await report.close()
        async with db.connection() as conn:
            points = await load_history(conn, 1)

    counts = sum((Counter(point.refusals) for point in points), Counter())
    assert counts == {"image_damaged": 4, "queue_full": 4}
