"""What a search and a whole job cost as the system grows and the schools do not.

.venv/bin/python -m benchmarks.search.growth [--dimensions 128] [--write-docs]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg import conninfo, sql

from automatch.ops.bench.usage import describe_machine
from benchmarks.search import load
from benchmarks.search.contenders import CONTENDERS
from benchmarks.search.data import Floats, Population, School
from benchmarks.search.report import put, table
from benchmarks.search.server import own_postgres
from tests.support.build import connect

TOTALS = (10_000, 100_000, 1_000_000)
ROUNDS = 5
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
    # All faces fit: what is compared is the search and not the disk.
    parser.add_argument("--shared-buffers-mb", type=int, default=6144)
    parser.add_argument("--write-docs", action="store_true", help="into docs/search.md")
    options = parser.parse_args()
    text = asyncio.run(measure(options))
    print(text)
    if options.write_docs:
        put("growth", text)


@dataclass
class Figures:
    """Of searches and jobs in one system."""

    pages: float = 0
    """Read by a search: the same ones, however many people there are elsewhere."""
    same: list[float] = field(default_factory=list)
    """Seconds of a search in one school, over and over."""
    any: list[float] = field(default_factory=list)
    """Seconds of a search in a school drawn from all."""
    jobs: list[float] = field(default_factory=list)
    """Seconds of a job in a school drawn from all, from its search to its commit."""


async def measure(options: argparse.Namespace) -> str:
    others = os.getloadavg()[0]
    population = Population(options.dimensions)
    schools: list[School] = []
    rows = {total: Figures() for total in TOTALS}
    async with own_postgres(options.shared_buffers_mb) as dsn:
        with connect(dsn, autocommit=True) as conn:
            load.use_model(conn, options.dimensions)
        for total in TOTALS:
            _copy(dsn, _database(total))
            with connect(_address(dsn, total), autocommit=True) as conn:
                for number in range(total // SCHOOL):
                    if number == len(schools):
                        schools.append(population.school(number, SCHOOL))
                    load.write_ours(conn, schools[number])
                conn.execute("vacuum (analyze)")
                (size,) = conn.execute(
                    "select pg_size_pretty(pg_database_size(current_database()))"
                ).fetchone() or ("?",)
            print(f"{total:,} faces written, {size}", flush=True)
        for number in range(ROUNDS):
            queries = population.people(options.count // ROUNDS, woman=False)
            # One after the other in each round, so that a slow minute of the machine slows all.
            for total, row in rows.items():
                some = schools[: total // SCHOOL]
                _measure_round(_address(dsn, total), queries, some, number, row)
            print(f"round {number + 1} of {ROUNDS}", flush=True)
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
        f"searches and jobs in rounds that take turns, p50 / p99, and the ratio of the medians; "
        f"{describe_machine()}. "
        f"Load of others when it began: {others:.1f}.\n\n" + "\n".join(table(head, lines))
    )


def _copy(dsn: str, name: str) -> None:
    source = str(conninfo.conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(dsn, dbname="template1", autocommit=True) as conn:
        conn.execute(
            # The other strategy writes every page into the log.
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(source)
            )
        )
        # A copy has not its template's search path, in which the type of the vectors is found.
        conn.execute(
            sql.SQL("alter database {} set search_path = public, extensions").format(
                sql.Identifier(name)
            )
        )


def _database(total: int) -> str:
    return f"faces_{total}"


def _address(dsn: str, total: int) -> str:
    return conninfo.make_conninfo(dsn, dbname=_database(total))


def _measure_round(
    dsn: str,
    queries: Sequence[Floats],
    schools: Sequence[School],
    number: int,
    figures: Figures,
) -> None:
    count = len(queries)
    random = np.random.default_rng(number)
    drawn = [schools[n] for n in random.integers(len(schools), size=count)]
    with connect(dsn, autocommit=True) as conn:
        jobs = [_job(conn, school, number * count + n) for n, school in enumerate(drawn)]
        OURS.prepare(conn)
        # Everything once unmeasured: what a server that has run for a while has in memory.
        for school in schools:
            OURS.search(conn, school.name, queries[0])
        if number == 0:
            figures.pages = float(np.median([_pages(conn, schools[0], q) for q in queries[:20]]))
        figures.same += [
            _seconds(partial(OURS.search, conn, schools[0].name, query)) for query in queries
        ]
        figures.any += [
            _seconds(partial(OURS.search, conn, school.name, query))
            for school, query in zip(drawn, queries, strict=True)
        ]
        figures.jobs += [_seconds(partial(conn.execute, _COMPLETE, [job])) for job in jobs]


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
