"""From what size on a group is searched faster through an index of its own.

.venv/bin/python -m benchmarks.search.crossover [--dimensions 128] [--write-docs]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time

from automatch.ops.bench.usage import describe_machine
from automatch.store.matching import tune
from benchmarks.search import load, measure
from benchmarks.search.contenders import CONTENDERS
from benchmarks.search.data import Floats, Population, School
from benchmarks.search.measure import Result
from benchmarks.search.report import put, table
from benchmarks.search.server import own_postgres
from tests.support.build import connect

CANDIDATES = (10_000, 25_000, 50_000, 100_000)
OURS = CONTENDERS[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--queries", type=int, default=200, help="searches a size")
    parser.add_argument("--write-docs", action="store_true", help="into docs/search.md")
    options = parser.parse_args()
    text = asyncio.run(compare(options))
    print(text)
    if options.write_docs:
        put(f"crossover-{options.dimensions}", text)


async def compare(options: argparse.Namespace) -> str:
    others = os.getloadavg()[0]
    population = Population(options.dimensions)
    rows = []
    async with own_postgres(shared_buffers_mb=2048) as dsn:
        with connect(dsn, autocommit=True) as conn:
            load.use_model(conn, options.dimensions)
        for number, candidates in enumerate(CANDIDATES):
            school = population.school(number, 2 * candidates)
            queries = population.people(options.queries, woman=False)
            with connect(dsn, autocommit=True) as conn:
                load.write_ours(conn, school)
                conn.execute(
                    "vacuum (analyze) public.faces, public.face_embeddings, public.face_index,"
                    " public.profiles"
                )
            scan = _ask(dsn, school, queries)
            build_s = await _build(dsn, school)
            index = _ask(dsn, school, queries)
            rows.append(
                [
                    f"{candidates:,}",
                    f"{scan.p50_ms:.2f} / {scan.p99_ms:.2f}",
                    f"{scan.recall:.4f}",
                    f"{index.p50_ms:.2f} / {index.p99_ms:.2f}",
                    f"{index.recall:.4f}",
                    f"{build_s:.0f} s",
                ]
            )
            print(f"{candidates:,} candidates done", flush=True)
    head = [
        "candidates",
        "read, p50 / p99 ms",
        "recall",
        "index, p50 / p99 ms",
        "recall",
        "built in",
    ]
    return (
        f"{options.dimensions} dimensions, {options.queries} searches a size; "
        f"{describe_machine()}. "
        f"Load of others when it began: {others:.1f}.\n\n" + "\n".join(table(head, rows))
    )


def _ask(dsn: str, school: School, queries: Floats) -> Result:
    return measure.in_turns(dsn, [OURS], school, queries)[0]


async def _build(dsn: str, school: School) -> float:
    """Give the women of the school an index as `automatch tune --build` does."""
    began = time.perf_counter()
    async with tune.owner_connection(dsn) as conn, tune.owner_connection(dsn) as watcher:
        await tune.build_index(conn, watcher, school.name, "female", on_progress=lambda *_: None)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
