"""Batches of jobs in a group of twice the cache: left to the database, or read whole each time.

.venv/bin/python -m benchmarks.search.large_group [--candidates 100000] [--jobs 64]
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time

import numpy as np
from threadpoolctl import threadpool_limits

from automatch.ops.bench.usage import describe_machine
from automatch.search.batch import BatchSearch
from automatch.settings.database import PoolSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.matching import tune
from automatch.store.queue import queue
from automatch.store.queue.queue import BatchCompletion
from benchmarks.search import load
from benchmarks.search.data import Population
from benchmarks.search.measure import make_jobs
from benchmarks.search.report import table
from benchmarks.search.server import own_postgres
from tests.support.build import connect

BATCHES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--jobs", type=int, default=64, help="jobs of a batch")
    options = parser.parse_args()
    threadpool_limits(1)
    print(asyncio.run(compare(options)))


async def compare(options: argparse.Namespace) -> str:
    """Return the table."""
    school = Population(options.dimensions).school(0, 2 * options.candidates)
    cache = options.candidates * 4 * options.dimensions // 2
    rows = []
    async with own_postgres(2048) as dsn:
        with connect(dsn, autocommit=True) as conn:
            load.use_model(conn, options.dimensions)
            load.write_ours(conn, school)
            conn.execute("vacuum (analyze)")
            # Past the trigger that asks for a consent.
            conn.execute("set session_replication_role = replica")
            async with Database(dsn, PoolSettings(), name="bench") as db:
                small = BatchSearch(db, max_bytes=cache)
                whole = BatchSearch(db, max_bytes=1024**3, keep_s=0)
                for name, search in (
                    ("left to the database", small),
                    ("read whole each time", whole),
                    ("left to the database, which has an index of it", small),
                ):
                    if "index" in name:
                        await build_index(dsn, school.name)
                    before, times, copied = resident_mib(), list[float](), 0
                    for _ in range(BATCHES):
                        jobs = make_jobs(conn, school.name, options.jobs)
                        began = time.perf_counter()
                        found = await search.find_candidates(jobs)
                        copied = search.bytes
                        completion = BatchCompletion(jobs, candidates=found)
                        await queue.complete_batch(db, completion, WorkerSettings())
                        times.append(time.perf_counter() - began)
                        conn.execute("delete from public.match_jobs")
                    rows.append(
                        [
                            name,
                            f"{np.median(times):.2f}",
                            f"{max(times):.2f}",
                            f"{copied / 1024**2:.0f}",
                            f"{resident_mib() - before}",
                        ]
                    )
    head = ["a group of twice the cache", "s a batch", "max", "MiB copied a batch", "MiB more"]
    return (
        f"{options.candidates:,} candidates, {options.dimensions} dimensions, batches of"
        f" {options.jobs}; {describe_machine()}.\n\n" + "\n".join(table(head, rows))
    )


async def build_index(dsn: str, school: str) -> None:
    async with tune.owner_connection(dsn) as conn, tune.owner_connection(dsn) as watcher:
        await tune.build_index(conn, watcher, school, "female", on_progress=lambda *_: None)


def resident_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
