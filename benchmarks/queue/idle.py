"""What workers without work cost the database."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import psycopg

from benchmarks.queue.report import put, table, verdict
from benchmarks.queue.server import Server
from tests.support.worker import run_worker

_COMMITS = "select xact_commit from pg_stat_database where datname = current_database()"
_WORKERS = (1, 4, 16)
"""Objects of one process; each has connections of its own."""
_MOST = 0.05
_SETTLE_S = 45
_TURNS_S = 60
"""Those who wait in line look around twice or three times in it."""


async def measure(server: Server, machine: str, seconds: float) -> None:
    """Measure and write the table of idle workers."""
    rows = []
    for workers in _WORKERS:
        with server.cloned("migrated") as database:
            async with AsyncExitStack() as stack:
                for _ in range(workers):
                    worker = run_worker(database, poll_s=5, sweep_s=5, backfill_concurrency=1)
                    await stack.enter_async_context(worker)
                with psycopg.connect(database.owner, autocommit=True) as conn:
                    # What they do at their start, and what the server has not counted yet.
                    await asyncio.sleep(_SETTLE_S)
                    before, seconds = _read(conn), max(seconds, _TURNS_S)
                    await asyncio.sleep(seconds)
                    rate = (_read(conn) - before) / seconds
        print(f"idle: {workers} workers: {rate:.2f} transactions/s")
        more = (rate - rows[0][1]) / (workers - 1) if rows else rate
        rows.append((workers, rate, more))
    cells = [
        [str(workers), f"{rate:.2f}", f"{more:.3f}", verdict(more <= _MOST) if workers > 1 else ""]
        for workers, rate, more in rows
    ]
    head = ["idle workers", "transactions a second", "each further worker", f"at most {_MOST}"]
    put("idle", f"{machine}\n\n{table(head, cells)}")


def _read(conn: psycopg.Connection) -> int:
    row = conn.execute(_COMMITS).fetchone()
    assert row is not None
    return int(row[0])
