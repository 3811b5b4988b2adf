"""What a search and a whole job cost as the system grows and the schools do not.

.venv/bin/python -m benchmarks.search.growth [--dimensions 128] [--write-docs]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import psycopg

from automatch.ops.bench.usage import describe_machine
from benchmarks.search import load
from benchmarks.search.contenders import CONTENDERS
from benchmarks.search.data import Floats, Population, School
from benchmarks.search.report import put, table
from benchmarks.search.server import own_postgres
from tests.support.build import connect

TOTALS = (10_000, 100_000, 1_000_000)
SCHOOL = 2_000
OURS = CONTENDERS[-1]

_JOB = """
    insert into public.match_jobs
        (face_id, user_id, school, status, attempts, lease_token, lease_expires_at, worker_id,
         position)
    values (%(face)s, %(face)s, %(school)s, 'processing', 1, 1, now() + interval '1 hour',
        gen_random_uuid(), 1)
    returning id
"""
_COMPLETE = "select job_id, match_count from public.complete_match_jobs(array[%s], array[1]::int[])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--count", type=int, default=1000, help="searches and jobs a size")
    # All of a million faces fits: what is compared is the search and not the disk.
    parser.add_argument("--shared-buffers-mb", type=int, default=3072)
    parser.add_argument("--write-docs", action="store_true", help="into docs/search.md")
    options = parser.parse_args()
    text = asyncio.run(measure(options))
    print(text)
    if options.write_docs:
        put("growth", text)


@dataclass(frozen=True)
class Figures:
    """Of searches and jobs in one system."""

    pages: float
    """Read by a search: the same ones, however many people there are elsewhere."""
    same: list[float]
    """Seconds of a search in one school, over and over."""
    any: list[float]
    """Seconds of a search in a school drawn from all."""
    jobs: list[float]
    """Seconds of a job in a school drawn from all, from its search to its commit."""


async def measure(options: argparse.Namespace) -> str:
    others = os.getloadavg()[0]
    population = Population(options.dimensions)
    schools: list[School] = []
    rows: dict[int, Figures] = {}
    async with own_postgres(options.shared_buffers_mb) as dsn:
        with connect(dsn, autocommit=True) as conn:
            load.use_model(conn, options.dimensions)
            for total in TOTALS:
                while len(schools) * SCHOOL < total:
                    schools.append(population.school(len(schools), SCHOOL))
                    load.write_ours(conn, schools[-1])
                conn.execute("vacuum (analyze)")
                conn.execute("checkpoint")
                rows[total] = _figures(dsn, population, schools, options.count)
                print(f"{total:,} faces done", flush=True)
    least = rows[TOTALS[0]]
    head = [
        "faces",
        "pages",
        "same school, ms",
        "",
        "any school, ms",
        "",
        "job, any school, ms",
        "",
    ]
    lines = [
        [
            f"{total:,}",
            f"{row.pages:,.0f}",
            *_against(row.same, least.same),
            *_against(row.any, least.any),
            *_against(row.jobs, least.jobs),
        ]
        for total, row in rows.items()
    ]
    return (
        f"Schools of {SCHOOL:,} faces of {options.dimensions} dimensions, {options.count:,} "
        f"searches and jobs, p50 / p99, and the ratio of the medians; {describe_machine()}. "
        f"Load of others when it began: {others:.1f}.\n\n" + "\n".join(table(head, lines))
    )


def _figures(dsn: str, population: Population, schools: Sequence[School], count: int) -> Figures:
    queries = population.people(count, woman=False)
    same = schools[0]
    drawn = [schools[n] for n in np.random.default_rng(1).integers(len(schools), size=count)]
    with connect(dsn, autocommit=True) as conn:
        jobs = [_job(conn, school, number) for number, school in enumerate(drawn)]
        OURS.prepare(conn)
        # Everything once unmeasured: what a server that has run for a while has in memory.
        for school in schools:
            OURS.search(conn, school.name, queries[0])
        return Figures(
            pages=float(np.median([_pages(conn, same, query) for query in queries[:20]])),
            same=[
                _seconds(partial(OURS.search, conn, schools[0].name, query)) for query in queries
            ],
            any=[
                _seconds(partial(OURS.search, conn, school.name, query))
                for school, query in zip(drawn, queries, strict=True)
            ],
            jobs=[_seconds(partial(conn.execute, _COMPLETE, [job])) for job in jobs],
        )


def _pages(conn: psycopg.Connection, school: School, query: Floats) -> int:
    row = conn.execute(
        f"explain (analyze, buffers, format json) {OURS.statement}",
        {"school": school.name, "query": query},
    ).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def _job(conn: psycopg.Connection, school: School, number: int) -> UUID:
    """Write the job of a man of the school as a worker has it that claimed it."""
    man = school.size // 2 + number % (school.size - school.size // 2)
    face = UUID(bytes=school.ids[man].tobytes())
    conn.execute("set session_replication_role = replica")
    row: tuple[UUID] | None = conn.execute(_JOB, {"face": face, "school": school.name}).fetchone()
    conn.execute("set session_replication_role = default")
    assert row is not None
    return row[0]


def _seconds(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _against(times: Sequence[float], least: Sequence[float]) -> tuple[str, str]:
    p50, p99 = np.percentile(times, [50, 99])
    return f"{p50 * 1000:.2f} / {p99 * 1000:.2f}", f"{p50 / np.median(least):.2f}"


if __name__ == "__main__":
    main()
