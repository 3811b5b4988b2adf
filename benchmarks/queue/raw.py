"""The limit: the least that a durable claim and a durable end can be, in plain asyncpg."""

from __future__ import annotations

from benchmarks.queue.server import connect
from tests.support.postgres import Database

_TABLE = """
create table job (
    id bigint generated always as identity primary key,
    status text not null default 'pending',
    started_at timestamptz,
    completed_at timestamptz
);
create index job_pending_idx on job (id) where status = 'pending';
insert into job (status) select 'pending' from generate_series(1, {jobs});
"""
_CLAIM = """
with due as materialized (
    select id from job where status = 'pending' order by id limit $1 for update skip locked
)
update job set status = 'processing', started_at = now() from due where job.id = due.id
returning job.id
"""
_FINISH = "update job set status = 'completed', completed_at = now() where id = any ($1)"
_FINISH_AND_CLAIM = f"""
with ended as (
    update job set status = 'completed', completed_at = now() where id = any ($2)
), {_CLAIM.strip().removeprefix("with ")}
"""


async def prepare(database: Database, jobs: int) -> None:
    conn = await connect(database)
    await conn.execute(_TABLE.format(jobs=jobs))
    await conn.execute("vacuum analyze")
    await conn.close()


async def finish_all(database: Database, batch: int) -> int:
    """Claim in one commit, end in another."""
    conn = await connect(database)
    claim, finish = await conn.prepare(_CLAIM), await conn.prepare(_FINISH)
    finished = 0
    while rows := await claim.fetch(batch):
        await finish.fetch([row[0] for row in rows])
        finished += len(rows)
    await conn.close()
    return finished


async def finish_all_merged(database: Database, batch: int) -> int:
    """End a batch and claim the next in one statement."""
    conn = await connect(database)
    both = await conn.prepare(_FINISH_AND_CLAIM)
    finished, ids = 0, []
    while rows := await both.fetch(batch, ids):
        finished += len(rows)
        ids = [row[0] for row in rows]
    await conn.execute(_FINISH.replace("$1", f"array{ids}::bigint[]"))
    await conn.close()
    return finished
