"""The real thing: whole workers on 100,000 faces whose embeddings are known."""

from __future__ import annotations

from contextlib import AsyncExitStack

import psycopg

from benchmarks.queue.people import Population, fill
from benchmarks.queue.report import figure, median, put, spread, table, verdict
from benchmarks.queue.server import Server
from benchmarks.queue.throughput import until_finished
from benchmarks.queue.worker_process import running

_SCHOOL = 1_000
"""People in a school: 100 groups of five women and five men."""


async def measure(server: Server, machine: str, rounds: int, faces: int, jobs: int) -> None:
    """Measure and write the table of part D."""
    fill(server.create("campus"), Population(max(faces // _SCHOOL, 1), 100, 5, 5, jobs=jobs))
    rows = []
    for workers in (1, 2):
        rates, matches, per_job = [], 0.0, []
        for _ in range(rounds):
            with server.cloned("campus") as database:
                with server.counting() as cost:
                    async with AsyncExitStack() as stack:
                        started = [
                            await stack.enter_async_context(running("ours", database))
                            for _ in range(workers)
                        ]
                        for worker in started:
                            await worker.start()
                        finished = await until_finished(database)
                with psycopg.connect(database.owner) as conn:
                    row = conn.execute(_OUTCOME).fetchone()
            assert row is not None
            rates.append(finished / float(row[0]))
            matches = float(row[1])
            per_job.append(1e6 * cost[0].server_cpu_s / finished)
            print(f"real: {workers} processes: {rates[-1]:,.0f} jobs/s")
        rows.append(
            [
                f"{workers} (concurrency 2 each)",
                spread(rates),
                figure(matches),
                f"{figure(median(per_job))} us",
                verdict(median(rates) >= 500),
            ]
        )
    head = ["worker processes", "jobs a second", "matches a job", "CPU, Postgres", "500 a second"]
    put("real", f"{machine} {faces:,} faces, {jobs:,} jobs.\n\n{table(head, rows)}")


_OUTCOME = """
select extract(epoch from max(completed_at) - min(started_at)), avg(match_count)
from match_jobs where status = 'completed'
"""
