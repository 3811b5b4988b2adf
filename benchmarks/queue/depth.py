"""What a job costs when the table is full of finished ones."""

from __future__ import annotations

import random
from collections import defaultdict

import psycopg

from benchmarks.queue import ours
from benchmarks.queue.people import Population, fill
from benchmarks.queue.report import figure, median, put, spread, table, verdict
from benchmarks.queue.server import Server
from tests.support.postgres import Database

_PEOPLE = 20_000


async def measure(server: Server, machine: str, rounds: int, sizes: list[int]) -> None:
    """Measure and write the table of part E."""
    databases = {rows: server.create(f"depth_{rows}") for rows in sizes}
    for rows, database in databases.items():
        fill(database, Population(50, _PEOPLE // 50, 1))
        ours.switch_off_search(database)
        _finish_many(database, rows)
        print(f"depth: {rows:,} rows are there")
    walls: dict[int, list[float]] = defaultdict(list)
    cpu: dict[int, list[float]] = defaultdict(list)
    wal: dict[int, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for rows in random.sample(sizes, len(sizes)):
            _queue_all(databases[rows])
            server.checkpoint()
            with server.counting() as cost:
                finished = await ours.finish_all(databases[rows], 100)
            walls[rows].append(1e6 * cost[0].seconds / finished)
            cpu[rows].append(1e6 * cost[0].server_cpu_s / finished)
            wal[rows].append(cost[0].wal_bytes / finished)
            print(f"depth: {rows:,} rows: {walls[rows][-1]:.0f} us a job")
    for rows in sizes:
        server.drop(f"depth_{rows}")
    least = min(median(walls[rows]) for rows in sizes)
    lines = [
        [
            f"{rows:,}",
            spread(walls[rows], " us"),
            f"{figure(median(cpu[rows]))} us",
            f"{figure(median(wal[rows]))} B",
            f"{median(walls[rows]) / least:.2f}",
            verdict(median(walls[rows]) <= 1.3 * least),
        ]
        for rows in sizes
    ]
    head = [
        "finished jobs in the table", "time a job", "CPU, Postgres", "WAL", "factor", "at most 1.3",
    ]  # fmt: skip
    put("depth", f"{machine}\n\n{table(head, lines)}")


def _finish_many(database: Database, rows: int) -> None:
    with psycopg.connect(database.owner) as conn:
        conn.execute("set session_replication_role = replica")
        conn.execute("delete from match_jobs")
        conn.execute(_FINISHED, [-(-rows // _PEOPLE), rows])
    with psycopg.connect(database.owner, autocommit=True) as conn:
        conn.execute("vacuum analyze match_jobs")


def _queue_all(database: Database) -> None:
    with psycopg.connect(database.owner) as conn:
        conn.execute("set session_replication_role = replica")
        conn.execute("delete from match_jobs where position is not null")
        conn.execute(_WAITING)
    with psycopg.connect(database.owner, autocommit=True) as conn:
        conn.execute("vacuum analyze match_jobs")


# Of four that are finished, one has failed.
_FINISHED = """
insert into match_jobs (
    face_id, user_id, school, status, attempts, created_at, started_at, completed_at, match_count,
    error_code, error_message, timings
)
select
    f.id, p.id, p.school, case when n %% 4 = 0 then 'failed' else 'completed' end, 1,
    t.at, t.at, t.at, case when n %% 4 <> 0 then n %% 20 end,
    case when n %% 4 = 0 then 'no_face' end, case when n %% 4 = 0 then 'There is no face.' end,
    '{"embedded_ms": 400, "claimed_ms": 10, "written_ms": 500, "searched_ms": 450}'
from (
    select row_number() over (order by g, f.id) as n, f.id, f.profile_id
    from generate_series(1, %s) as g cross join faces as f
    limit %s
) as f
join profiles as p on p.id = f.profile_id
cross join lateral (select now() - interval '6 days' + f.n * interval '0.4 seconds' as at) as t
"""
_WAITING = """
insert into match_jobs (face_id, user_id, school, position)
select f.id, p.id, p.school, 16 * row_number() over (order by f.id)
from faces as f join profiles as p on p.id = f.profile_id
"""
