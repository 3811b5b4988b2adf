"""From the enqueue to the start of the job, on a worker that has nothing to do."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import psycopg
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from benchmarks.queue import peers
from benchmarks.queue.people import Population, fill
from benchmarks.queue.report import figure, percentile, put, table, verdict
from benchmarks.queue.server import Server, connect
from benchmarks.queue.worker_process import running
from tests.support.postgres import Database

_PAUSE_S = (0.02, 0.2)


async def measure(server: Server, machine: str, samples: int) -> None:
    """Measure and write the table of part C."""
    fill(server.create("sleepy"), Population(50, -(-samples // 50) + 1, 1))
    await peers.prepare_pgqueuer(server.create("sleepy_pgqueuer", "empty"), 0)
    await peers.prepare_procrastinate(server.create("sleepy_procrastinate", "empty"), 0)
    rows = []
    for name, kind, template, enqueuing in (
        ("**Auto-Match**", "ours", "sleepy", _enqueue_ours),
        ("pgqueuer", "pgqueuer", "sleepy_pgqueuer", _enqueue_pgqueuer),
        ("procrastinate", "procrastinate", "sleepy_procrastinate", _enqueue_procrastinate),
    ):
        with server.cloned(template) as database:
            times = await _sample(kind, database, enqueuing, samples)
        shares = [percentile(times, share) for share in (0.5, 0.95, 0.99)]
        reached = verdict(shares[0] <= 3 and shares[2] <= 10) if kind == "ours" else ""
        rows.append([name, *(figure(ms) for ms in (*shares, max(times))), reached])
        print(f"latency: {name}: p50 {shares[0]:.1f} ms, p99 {shares[2]:.1f} ms")
    head = ["queue", "p50 (ms)", "p95 (ms)", "p99 (ms)", "max (ms)", "p50 <= 3 and p99 <= 10"]
    put("latency", f"{machine} {samples} samples each.\n\n{table(head, rows)}")


async def _sample(
    kind: str,
    database: Database,
    enqueuing: Callable[[Database], Awaitable[Callable[[], Awaitable[object]]]],
    samples: int,
) -> list[float]:
    enqueue = await enqueuing(database)
    times = []
    async with running(kind, database) as worker:
        await worker.start()
        await asyncio.sleep(1)
        for _ in range(samples):
            await asyncio.sleep(random.uniform(*_PAUSE_S))
            began = time.monotonic()
            await enqueue()
            times.append(1000 * (await worker.next_start() - began))
    return times


async def _enqueue_ours(database: Database) -> Callable[[], Awaitable[object]]:
    conn = await psycopg.AsyncConnection.connect(database.owner, autocommit=True)
    # A face without an embedding: the worker begins by reading the photo.
    await conn.execute("delete from match_jobs")
    await conn.execute("delete from face_embeddings")
    faces = [row[0] for row in await (await conn.execute("select id from faces")).fetchall()]
    return lambda: conn.execute("select enqueue_match_job(%s)", [faces.pop()])


async def _enqueue_pgqueuer(database: Database) -> Callable[[], Awaitable[object]]:
    queries = Queries(AsyncpgDriver(await connect(database)))
    return lambda: queries.enqueue("noop", None)


async def _enqueue_procrastinate(database: Database) -> Callable[[], Awaitable[object]]:
    app = peers.make_app(database)
    await app.open_async()
    return app.configure_task("noop").defer_async
