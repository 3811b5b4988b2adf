"""The search against the usual design: recall, rows, times, rates, sizes; one run, one data set.

Starts a Postgres of its own, fills it with schools of 200 to 50,000 faces in which gender is
visible, and asks every contender the same questions.

    .venv/bin/python -m benchmarks.search.run [--faces 100000] [--dimensions 512] [--write-docs]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from threadpoolctl import threadpool_limits

from automatch.ops.bench.usage import describe_machine
from benchmarks.search import load, measure, report
from benchmarks.search.contenders import CONTENDERS, GUIDE, OURS, sizes
from benchmarks.search.data import LAYOUTS, Population, School
from benchmarks.search.server import own_postgres


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=100_000, choices=sorted(LAYOUTS))
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--queries", type=int, default=60, help="searches a size of school")
    parser.add_argument("--shared-buffers-mb", type=int, default=1024)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--from-json", type=Path, help="show the figures of an earlier run")
    parser.add_argument("--write-docs", action="store_true", help="into docs/search.md")
    parser.add_argument("--draw", action="store_true", help="the picture of docs/search.md")
    options = parser.parse_args()
    threadpool_limits(1)
    if options.from_json:
        run = json.loads(options.from_json.read_text())
        run["results"] = [measure.Result(**result) for result in run["results"]]
    else:
        async with own_postgres(options.shared_buffers_mb) as dsn:
            run = await bench(dsn, options)
    print(report.tables(run))
    if options.json:
        results = [result.as_json() for result in run["results"]]
        options.json.write_text(json.dumps({**run, "results": results}, indent=1))
    if options.write_docs:
        report.write_docs(run)
    if options.draw:
        report.draw(run)


async def bench(dsn: str, options: argparse.Namespace) -> dict[str, Any]:
    load_of_others = os.getloadavg()[0]
    population = Population(options.dimensions)
    schools = list(population.schools(options.faces))
    # One school of each size is asked; the others are there to be in the way.
    asked = {school.size: school for school in reversed(schools)}
    with psycopg.connect(dsn, autocommit=True) as conn:
        say(f"writing {options.faces:,} faces")
        load.prepare(conn, options.dimensions)
        load.write(conn, schools)
        load.settle(conn)
        say("building the index over all faces")
        build_s = load.build_guides_index(conn)
    results: list[measure.Result] = []
    for size, school in sorted(asked.items()):
        results += await ask(dsn, population, school, options.queries)
        say(f"schools of {size:,} done")
    rates = {}
    for contender in CONTENDERS:
        if contender.name in (GUIDE, OURS) or "iterative" in contender.name:
            count = 1200 if contender.name != CONTENDERS[2].name else 60
            queries = population.people(count, woman=False)
            rates[contender.name] = [
                measure.per_second(dsn, contender, schools, queries, connections)
                for connections in (1, 2)
            ]
    with psycopg.connect(dsn) as conn:
        on_disk = sizes(conn)
    return {
        "total": options.faces,
        "dimensions": options.dimensions,
        "queries": options.queries,
        "machine": describe_machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "load": load_of_others,
        "build_s": build_s,
        "results": results,
        "rates": rates,
        "sizes": on_disk,
        "flat_bytes": sum(school.faces.nbytes for school in schools),
    }


async def ask(dsn: str, population: Population, school: School, count: int) -> list[measure.Result]:
    """Ask all contenders the same questions."""
    queries = population.people(count, woman=False)
    results = measure.in_turns(dsn, CONTENDERS, school, queries)
    results += await measure.batch(dsn, school)
    results.append(measure.flat_batch(school, population.people(measure.BATCH, woman=False)))
    return results


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
