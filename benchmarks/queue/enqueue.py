"""Sixteen writers that queue one job a transaction, with and without somebody to wake."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from benchmarks.queue.people import Population, fill
from benchmarks.queue.report import median, put, spread, table, verdict
from benchmarks.queue.server import Server
from tests.support.postgres import Database

_WRITERS = 16

_NONE = "no notification at all (trigger dropped)"
_AWAKE = "**as shipped**, workers awake"
_ASLEEP = "as shipped, a worker asleep"
_ALWAYS = "a notification in every transaction"


async def measure(server: Server, machine: str, rounds: int, jobs: int) -> None:
    """Measure and write the table of part F."""
    each = max(jobs // _WRITERS, 10)
    with_people = server.create("writers")
    fill(with_people, Population(50, -(-each * _WRITERS // 50) + 1, 1, jobs=0))
    with psycopg.connect(with_people.owner) as conn:
        conn.execute(_NUMBERED)
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name in random.sample([_NONE, _AWAKE, _ASLEEP, _ALWAYS], 4):
            with server.cloned("writers") as database, _as(name, database):
                report = server.pgbench(
                    database, _SCRIPT,
                    *("--client", str(_WRITERS), "--jobs", "2", "--transactions", str(each)),
                )  # fmt: skip
            found = re.search(r"tps = ([\d.]+)", report)
            assert found, report
            rates[name].append(float(found[1]))
            print(f"enqueue: {name}: {rates[name][-1]:,.0f} commits/s")
    free = median(rates[_NONE])
    rows = [
        [name, spread(rates[name]), f"{median(rates[name]) / free:.2f}", reached]
        for name, reached in (
            (_NONE, ""),
            (_AWAKE, verdict(median(rates[_AWAKE]) >= 0.75 * free)),
            (_ASLEEP, ""),
            (_ALWAYS, ""),
        )
    ]
    head = ["16 writers", "commits a second", "of no notification", "at least 0.75"]
    put("enqueue", f"{machine}\n\n{table(head, rows)}")


@contextmanager
def _as(name: str, database: Database) -> Iterator[None]:
    with psycopg.connect(database.owner, autocommit=True) as conn:
        if name == _NONE:
            conn.execute("drop trigger match_jobs_queued on match_jobs")
        elif name == _ALWAYS:
            conn.execute(_NOTIFY_ALWAYS)
        elif name == _ASLEEP:
            conn.execute("listen automatch_jobs")
            conn.execute("select register_idle('1 s')")
        yield


_NUMBERED = """
create table numbered as select row_number() over () as n, id from faces;
alter table numbered add primary key (n);
create sequence next_number;
"""
_SCRIPT = """
select public.enqueue_match_job(
    (select id from numbered where n = (select nextval('next_number'))), 2::smallint
);
"""
_NOTIFY_ALWAYS = """
create or replace function automatch.wake_workers()
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$ select pg_notify('automatch_jobs', '') $$
"""
