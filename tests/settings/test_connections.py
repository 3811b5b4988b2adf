from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from automatch.settings import Settings
from automatch.settings.connections import server_connections, worker_connections, worker_pool
from automatch.settings.database import PoolSettings
from automatch.settings.worker import WorkerSettings
from automatch.vision import Embedder
from tests.support import build
from tests.support.scheduling import running_schedule
from tests.support.system import System, running_worker
from tests.support.worker import observe

pytestmark = pytest.mark.anyio

PEOPLE = 40
OPEN = """
    select coalesce(nullif(usename, current_user), 'schedule'), count(*)
    from pg_stat_activity
    where datname = current_database() and starts_with(application_name, 'automatch-')
    group by 1
"""
BLOCKED = """
    select count(*) from pg_stat_activity
    where datname = current_database() and usename = 'automatch_api' and wait_event_type = 'Lock'
"""


async def test_busy_server_and_worker_open_no_more_connections_than_is_said(
    server: System, embedder: Embedder
) -> None:
    settings = server.settings
    with build.connect(server.database.owner) as conn:
        for n in range(PEOPLE):
            build.a_face(conn, build.a_profile(conn, school=f"S{n}"), build.unit(n))
    person = await server.join()
    async with (
        running_schedule(server.database.owner),
        running_worker(settings, server.secrets, embedder),
        observe(server.database) as db,
    ):
        await db.conn.execute("select count(public.enqueue_match_job(id)) from public.faces")
        with build.connect(server.database.owner) as blocker:
            blocker.execute("lock table public.profiles in access exclusive mode")
            asking = [asyncio.create_task(person.get("/api/profile")) for _ in range(30)]
            while (await db.rows(BLOCKED))[0][0] < settings.pool.max_size:
                await server.client.get("/healthz")
            blocker.rollback()
        await asyncio.gather(*asking)
        await db.wait_until(
            "select count(*) = %s from match_jobs where status = 'completed'", PEOPLE
        )
        opened = dict(await db.rows(OPEN))

    on_server = opened["automatch_api"] + opened.get("schedule", 0)
    assert settings.pool.max_size < on_server <= server_connections(settings) == 12
    assert 2 <= opened["automatch_worker"] <= worker_connections(settings) == 6


def test_worker_opens_no_connection_that_it_has_no_use_for() -> None:
    def pool(size: int, concurrency: int) -> tuple[int, int]:
        settings = Settings(
            database_url=None,
            pool=PoolSettings(min_size=1, max_size=size),
            worker=WorkerSettings(concurrency=concurrency),
        )
        return worker_pool(settings).max_size, worker_connections(settings)

    assert pool(8, 2) == (4, 6)
    assert pool(20, 8) == (10, 12)
    assert pool(1, 2) == (1, 3)


def test_pools_behind_a_pooler_open_no_connections_to_postgres_itself() -> None:
    settings = Settings(
        database_url=SecretStr("postgresql://pooler/a"), direct_url=SecretStr("postgresql://own/a")
    )

    assert server_connections(settings) == 4
    assert worker_connections(settings) == 1
