from __future__ import annotations

import asyncio

import psycopg
import pytest

from automatch.feed.notifier import FeedNotifier
from automatch.settings import Settings
from tests.http.routes.test_faces import away
from tests.http.test_errors import check
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
    server: System, cluster: TestCluster, database: Database
) -> None:
    assert (await server.client.get("/readyz")).json() == {"status": "ready"}

    async with away(cluster, database):
        check(await server.client.get("/readyz"), 503, "db_unavailable")
        assert (await server.client.get("/healthz")).json() == {"status": "ok"}


async def test_server_is_not_ready_on_an_older_schema_and_is_on_a_newer_one(server: System) -> None:
    with psycopg.connect(server.database.owner, autocommit=True) as conn:
        conn.execute(
            "create temporary table kept as select * from supabase_migrations.schema_migrations"
        )
        conn.execute("delete from supabase_migrations.schema_migrations")
        old = await server.client.get("/readyz")
        conn.execute("insert into supabase_migrations.schema_migrations select * from kept")
        conn.execute(
            "insert into supabase_migrations.schema_migrations (version, name)"
            " values ('29991231000000', 'automatch_later')"
        )
        new = await server.client.get("/readyz")
        conn.execute(
            "delete from supabase_migrations.schema_migrations where version = '29991231000000'"
        )

    check(old, 503, "not_ready")
    assert "automatch migrate" in old.json()["error"]["message"]
    assert new.json() == {"status": "ready"}


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
