"""A database with a schedule: what stands in for pg_cron and pg_net, and the real ones."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
import pytest

from automatch.supabase_compat.cron_runner import CronRunner
from tests.support.postgres import TEST_SERVER
from tests.support.waiting import PATIENCE_S


@asynccontextmanager
async def running_schedule(
    dsn: str,
    *,
    local_url: str = "http://127.0.0.1:9",
    public_url: str | None = None,
    net_origins: list[str] | None = None,
    started: asyncio.Event | None = None,
) -> AsyncIterator[None]:
    """Run what a server runs beside itself, until left."""
    running = asyncio.create_task(
        CronRunner(
            dsn,
            local_url=local_url,
            public_url=public_url,
            net_origins=net_origins,
            started=started,
        ).run(),
        name="schedule",
    )
    try:
        yield
    finally:
        # What broke it is the test's to know.
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def server_with_extensions() -> str:
    """Return the address of a server that has pg_cron and pg_net, or skip the test."""
    dsn = os.environ.get(TEST_SERVER)
    if dsn is None:
        pytest.skip(f"{TEST_SERVER} names no server")
    with psycopg.connect(dsn) as conn:
        found = conn.execute(
            "select count(*) from pg_extension where extname in ('pg_cron', 'pg_net')"
        ).fetchone()
    if found != (2,):
        pytest.skip(f"the server of {TEST_SERVER} lacks pg_cron or pg_net")
    return dsn


async def eventually(dsn: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Ask again and again until there are rows: another process writes them."""
    async with (
        asyncio.timeout(PATIENCE_S),
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn,
    ):
        while not (rows := await (await conn.execute(query.encode(), parameters)).fetchall()):
            await asyncio.sleep(0.05)
    return rows
