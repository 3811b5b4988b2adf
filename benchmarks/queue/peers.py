"""pgqueuer and procrastinate as their documentation runs them, with a job that does nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

import procrastinate
from pgqueuer import QueueManager
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from benchmarks.queue.server import connect
from tests.support.postgres import Database

_LOT = 1000


async def prepare_pgqueuer(database: Database, jobs: int) -> None:
    conn = await connect(database)
    queries = Queries(AsyncpgDriver(conn))
    await queries.install()
    for _ in range(0, jobs, _LOT):
        await queries.enqueue(["noop"] * _LOT, [None] * _LOT, [0] * _LOT)
    await conn.execute("vacuum analyze")
    await conn.close()


async def finish_pgqueuer(database: Database, batch: int) -> int:
    """Run its manager until the queue is empty."""
    conn = await connect(database)
    manager = QueueManager(Queries(AsyncpgDriver(conn)))
    finished = 0

    @manager.entrypoint("noop")
    async def noop(_: Job) -> None:
        nonlocal finished
        finished += 1

    await manager.run(batch_size=batch, mode=QueueExecutionMode.drain)
    if not conn.is_closed():
        await conn.close()
    return finished


async def watch_pgqueuer(database: Database, started: Callable[[], None]) -> None:
    """Run its manager for ever, and tell of each job that starts."""
    conn = await connect(database)
    manager = QueueManager(Queries(AsyncpgDriver(conn)))

    @manager.entrypoint("noop")
    async def noop(_: Job) -> None:
        started()

    await manager.run()


def make_app(database: Database) -> procrastinate.App:
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=database.owner))


async def prepare_procrastinate(database: Database, jobs: int) -> None:
    app = make_app(database)

    @app.task(name="noop")
    async def noop() -> None: ...

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for _ in range(0, jobs, _LOT):
            await noop.batch_defer_async(*({} for _ in range(_LOT)))
    conn = await connect(database)
    await conn.execute("vacuum analyze")
    await conn.close()


async def finish_procrastinate(database: Database, concurrency: int) -> int:
    """Run its worker until the queue is empty; it claims one by one, so many side by side."""
    app = make_app(database)
    finished = 0

    @app.task(name="noop")
    async def noop() -> None:
        nonlocal finished
        finished += 1

    async with app.open_async():
        await app.run_worker_async(
            concurrency=concurrency, wait=False, install_signal_handlers=False
        )
    return finished


async def watch_procrastinate(database: Database, started: Callable[[], None]) -> None:
    """Run its worker for ever, and tell of each job that starts."""
    app = make_app(database)

    @app.task(name="noop")
    async def noop() -> None:
        started()

    async with app.open_async():
        await app.run_worker_async(install_signal_handlers=False)
