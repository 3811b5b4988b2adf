"""Many people and jobs written in bulk, and how many rows Postgres reads to find some of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from tests.support.build import connect, one
from tests.support.postgres import Database

_PEOPLE = """
    with people as (
        insert into public.profiles (school, gender, birth_date)
        select %s, 'female', '2000-02-29' from generate_series(1, %s)
        returning id
    ),
    faces as (
        insert into public.faces (profile_id, image_path, image_sha256)
        select p.id, 'x', left(repeat(replace(p.id::text, '-', ''), 2), 56) || lpad(n::text, 8, '0')
        from people as p, generate_series(1, %s) as n
        returning id
    )
    select id from faces
"""
_QUEUED = """
    insert into public.match_jobs (face_id, user_id, school, priority)
    select f.id, p.id, p.school, %s
    from unnest(%s::uuid[]) with ordinality as wanted (id, n)
    join public.faces as f on f.id = wanted.id
    join public.profiles as p on p.id = f.profile_id
    order by wanted.n
    returning id
"""
_FINISHED = """
    insert into public.match_jobs
        (face_id, user_id, school, status, attempts, position, created_at, completed_at,
         match_count)
    select gen_random_uuid(), gen_random_uuid(), 'S' || n %% 500, 'completed', 1, 0, at, at, 0
    from generate_series(1, %s) as n, lateral (select now() - n * interval '1 ms' as at) as moment
"""


@contextmanager
def bulk_inserts(database: Database) -> Iterator[psycopg.Connection]:
    """Give a connection for fast inserts: the only trigger that runs assigns positions."""
    with connect(database.owner, autocommit=True) as conn:
        conn.execute(
            "alter table public.match_jobs enable always trigger match_jobs_assign_position"
        )
        conn.execute("set session_replication_role = replica")
        yield conn


def enqueue_people(
    conn: psycopg.Connection, school: str, people: int = 1, *, photos: int = 1, priority: int = 2
) -> list[UUID]:
    """Enqueue photos of new people of an open school; return the jobs."""
    # With its triggers, which enter its spelling.
    conn.execute("set session_replication_role = origin")
    conn.execute(
        "insert into automatch.schools (name, is_open) values (%s, true) on conflict do nothing",
        [school],
    )
    conn.execute("set session_replication_role = replica")
    rows = conn.execute(_PEOPLE, [school, people, photos]).fetchall()
    return enqueue_faces(conn, [face for (face,) in rows], priority)


def enqueue_faces(conn: psycopg.Connection, faces: list[UUID], priority: int = 2) -> list[UUID]:
    """Enqueue faces in this order; return the jobs."""
    return [job for (job,) in conn.execute(_QUEUED, [priority, faces]).fetchall()]


def add_finished_jobs(conn: psycopg.Connection, jobs: int) -> None:
    """Add completed jobs of people who do not exist."""
    conn.execute(_FINISHED, [jobs])


@dataclass
class ReadCounts:
    """How much a block read of one table."""

    of_table: int = 0
    """Sequential scans of the table."""
    scans: dict[str, int] = field(default_factory=dict)
    """Scans of each index."""
    entries: dict[str, int] = field(default_factory=dict)
    """Entries read from each index."""
    blocks: int = 0
    """Pages of the table and its indexes that were read, from the cache or not."""

    def __sub__(self, before: ReadCounts) -> ReadCounts:
        return ReadCounts(
            self.of_table - before.of_table,
            _difference(self.scans, before.scans),
            _difference(self.entries, before.entries),
            self.blocks - before.blocks,
        )


def _difference(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: n - before.get(name, 0) for name, n in now.items() if n > before.get(name, 0)}


@contextmanager
def count_reads(conn: psycopg.Connection, table: str = "public.match_jobs") -> Iterator[ReadCounts]:
    """Count what the block reads of a table, in a transaction of its own.

    Postgres counts them, also inside functions, whose plans `explain` does not show.
    """
    counted = ReadCounts()
    with conn.transaction():
        before = _current_counts(conn, table)
        yield counted
        now = _current_counts(conn, table) - before
    counted.__dict__.update(now.__dict__)


def _current_counts(conn: psycopg.Connection, table: str) -> ReadCounts:
    rows = conn.execute(
        "select c.relname, pg_stat_get_xact_numscans(c.oid),"
        " pg_stat_get_xact_tuples_returned(c.oid), pg_stat_get_xact_blocks_fetched(c.oid)"
        " from pg_index as i join pg_class as c on c.oid = i.indexrelid"
        " where i.indrelid = %s::regclass",
        [table],
    ).fetchall()
    return ReadCounts(
        one(conn, "select pg_stat_get_xact_numscans(%s::regclass)", table),
        {name: scans for name, scans, _, _ in rows},
        {name: entries for name, _, entries, _ in rows},
        one(conn, "select pg_stat_get_xact_blocks_fetched(%s::regclass)", table)
        + sum(blocks for *_, blocks in rows),
    )
