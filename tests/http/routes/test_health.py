from __future__ import annotations

import asyncio

import pytest

from automatch.feed.notifier import FeedNotifier
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.store.installation.schema_version import SCHEMA
from tests.http.routes.test_faces import away
from tests.http.test_errors import check
from tests.support.build import set_schema_version
from tests.support.postgres import Database, TestCluster
from tests.support.system import System, running_server

pytestmark = pytest.mark.anyio


async def test_server_whose_feeds_fail_lives_and_is_not_ready(
    settings: Settings,
    cluster: TestCluster,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = asyncio.Event()

    async def fail(_: FeedNotifier) -> None:
        failed.set()
        raise ValueError

    monkeypatch.setattr(FeedNotifier, "run", fail)
    async with running_server(settings, cluster.secrets, database) as system:
        await failed.wait()
        answer = await system.client.get("/readyz")

        check(answer, 503, "not_ready")
        assert "feeds" in answer.json()["error"]["message"]
        assert (await system.client.get("/healthz")).json() == {"status": "ok"}


async def test_server_lives_and_is_not_ready_while_the_database_is_away(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    impatient = settings.model_copy(update={"pool": PoolSettings(timeout_s=2)})
    async with running_server(impatient, cluster.secrets, database) as server:
        assert (await server.client.get("/readyz")).json() == {"status": "ready"}

        async with away(cluster, database):
            check(await server.client.get("/readyz"), 503, "db_unavailable")
            assert (await server.client.get("/healthz")).json() == {"status": "ok"}


async def test_server_is_ready_on_the_next_schema_and_not_once_one_has_left_it_behind(
    server: System,
) -> None:
    set_schema_version(server.database.owner, SCHEMA + 1, SCHEMA)
    assert (await server.client.get("/readyz")).json() == {"status": "ready"}
    set_schema_version(server.database.owner, SCHEMA + 2, SCHEMA + 1)

    answer = await server.client.get("/readyz")

    check(answer, 503, "not_ready")
    assert "install the version that migrated it" in answer.json()["error"]["message"]


async def test_server_that_stops_is_not_ready(
    settings: Settings, cluster: TestCluster, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifiers: list[FeedNotifier] = []
    run = FeedNotifier.run

    async def remember(notifier: FeedNotifier) -> None:
        notifiers.append(notifier)
        await run(notifier)

    monkeypatch.setattr(FeedNotifier, "run", remember)
    async with running_server(settings, cluster.secrets, database) as system:
        notifiers[0].close()
        answer = await system.client.get("/readyz")

        check(answer, 503, "not_ready")
        assert "stopping" in answer.json()["error"]["message"]
        assert (await system.client.get("/healthz")).json() == {"status": "ok"}
