"""A constant rate for a long time: whether the table stays small and jobs start at once."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass

import psycopg

from benchmarks.queue import ours
from benchmarks.queue.people import Population, fill
from benchmarks.queue.report import figure, put, table
from benchmarks.queue.server import Server
from benchmarks.queue.worker_process import RunningWorker, running
from tests.support.postgres import Database

_RATE = 500
_LOT_S = 0.02
_KEEP_S = 20
"""Finished jobs leave after so long here instead of after a week: so the table is as large at the
end as at the beginning, unless it bloats."""
_SAMPLES = 10


@dataclass(frozen=True)
class _Sample:
    minute: float
    rate: float
    dead: int
    live: int
    table_mib: float
    indexes_mib: float
    p99_ms: float
    rss_mib: float


async def measure(server: Server, machine: str, seconds: float) -> None:
    """Measure and write the table of part G."""
    database = server.create("soak")
    fill(database, Population(50, 600, 1, jobs=0))
    ours.switch_off_search(database)
    async with running("queue", database) as worker:
        await worker.start()
        writing = asyncio.create_task(_write(database))
        cleaning = asyncio.create_task(_clean(database))
        try:
            samples = await _watch(database, worker, seconds)
        finally:
            for task in (writing, cleaning):
                task.cancel()
            await asyncio.gather(writing, cleaning, return_exceptions=True)
    server.drop("soak")
    rows = [
        [
            figure(one.minute), f"{one.rate:,.0f}", f"{one.live:,}", f"{one.dead:,}",
            figure(one.table_mib), figure(one.indexes_mib), figure(one.p99_ms), figure(one.rss_mib),
        ]
        for one in samples
    ]  # fmt: skip
    head = [
        "minute", "jobs a second", "rows", "dead rows", "table (MiB)", "indexes (MiB)",
        "start p99 (ms)", "worker RSS (MiB)",
    ]  # fmt: skip
    put("soak", f"{machine}\n\n{table(head, rows)}")


async def _write(database: Database) -> None:
    lot = round(_RATE * _LOT_S)
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn:
        cursor = await conn.execute("select id from faces")
        faces = itertools.cycle([row[0] for row in await cursor.fetchall()])
        due = time.monotonic()
        while True:
            await conn.execute(
                "select enqueue_match_job(face, 2::smallint) from unnest(%s::uuid[]) as face",
                [list(itertools.islice(faces, lot))],
            )
            due += _LOT_S
            await asyncio.sleep(max(due - time.monotonic(), 0))


async def _clean(database: Database) -> None:
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn:
        while True:
            await conn.execute(
                "select cleanup_old_match_jobs(make_interval(secs => %s))", [_KEEP_S]
            )
            await asyncio.sleep(1)


async def _watch(database: Database, worker: RunningWorker, seconds: float) -> list[_Sample]:
    samples: list[_Sample] = []
    began = time.monotonic()
    every = seconds / _SAMPLES
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn:
        for number in range(1, _SAMPLES + 1):
            await asyncio.sleep(max(began + number * every - time.monotonic(), 0))
            window = min(every, _KEEP_S / 2)
            row = await (await conn.execute(_STATE, {"window": window})).fetchone()
            assert row is not None
            rate, p99_ms, live, dead, table_bytes, index_bytes = row
            samples.append(
                _Sample(
                    (time.monotonic() - began) / 60,
                    float(rate),
                    dead,
                    live,
                    table_bytes / 2**20,
                    index_bytes / 2**20,
                    float(p99_ms or 0),
                    worker.rss_bytes / 2**20,
                )
            )
            print(f"soak: {samples[-1]}")
    return samples


_STATE = """
select
    recent.finished / %(window)s, recent.p99_ms, count.rows, stats.n_dead_tup,
    pg_relation_size('match_jobs'), pg_indexes_size('match_jobs')
from pg_stat_user_tables as stats
cross join (select count(*) as rows from match_jobs) as count
cross join (
    select
        count(*) filter (where status = 'completed') as finished,
        percentile_cont(0.99) within group (
            order by 1000 * extract(epoch from coalesce(started_at, now()) - created_at)
        ) as p99_ms
    from match_jobs
    where created_at > now() - make_interval(secs => %(window)s)
) as recent
where stats.relid = 'match_jobs'::regclass
"""
