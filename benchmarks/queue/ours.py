"""This queue through the functions of its store: what a lane does, without photos."""

from __future__ import annotations

from uuid import uuid4

import psycopg

from automatch.settings.database import PoolSettings
from automatch.settings.worker import WorkerSettings
from automatch.store import queue
from automatch.store.database import Database
from automatch.store.queue import Claim, Settlement
from tests.support import postgres


async def finish_all(database: postgres.Database, batch: int) -> int:
    """Claim and settle until nothing is left, as a lane does: the end of a batch takes the next.

    The settle is the whole one: it searches for each job, writes what is found and ends it.
    """
    worker_id, settings = uuid4(), WorkerSettings()
    finished = floor = 0
    async with Database(database.worker, PoolSettings(), name="bench") as db:
        async with db.connection() as conn:
            jobs = await queue.claim_jobs(conn, Claim(worker_id, batch, settings.lease_s))
        while jobs:
            floor = jobs[0].position
            settled = await queue.settle(
                db,
                Settlement(complete=jobs, claim=Claim(worker_id, batch, settings.lease_s, floor)),
                settings,
            )
            finished += len(settled.matches)
            jobs = settled.claimed
    return finished


def switch_off_search(database: postgres.Database) -> None:
    """Let every search find nothing at once: what is left is the queue."""
    with psycopg.connect(database.owner) as conn:
        conn.execute(_FIND_NOTHING)


_FIND_NOTHING = """
create or replace function automatch.search_for_jobs(p_job_ids uuid[], p_tokens bigint[])
returns automatch.found_face[]
language sql
set search_path = pg_catalog, pg_temp
as $$ select '{}'::automatch.found_face[] $$
"""
