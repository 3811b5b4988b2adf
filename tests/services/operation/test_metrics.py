from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from automatch.services.operation.metrics import ServerScrape
from automatch.settings.database import PoolSettings
from automatch.store.database import Database as Pool
from automatch.telemetry.metrics import ServerMetrics
from tests.support.postgres import Database

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with Pool(database.api, PoolSettings(), name="test") as pool:
        yield pool


async def test_database_is_asked_once_in_five_seconds_however_many_ask(pool: Pool) -> None:
    now = 0.0
    scrape = ServerScrape(ServerMetrics(), db=pool, clock=lambda: now)

    await asyncio.gather(*(scrape.read() for _ in range(10)))
    now = 4.9
    await scrape.read()
    assert pool.measure().requests == 1

    now = 5.0
    await scrape.read()
    assert pool.measure().requests == 2


async def test_database_that_is_busy_for_too_long_keeps_no_scrape_waiting(
    pool: Pool, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automatch.store.operation.metrics._DEADLINE_S", 0.2)
    scrape = ServerScrape(ServerMetrics(), db=pool)

    with psycopg.connect(database.owner) as conn:
        conn.execute("lock table automatch.queue_settings in access exclusive mode")
        told = (await scrape.read()).decode()

    assert "\nautomatch_database_up 0.0\n" in told
    assert 'automatch_database_pool_connections{state="in_use"} 0.0' in told
    async with pool.connection() as conn:
        await conn.execute("select 1")
