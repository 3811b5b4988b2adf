"""This queue through the functions of its store: what a batch runner does, without photos."""

from __future__ import annotations

from uuid import uuid4

import psycopg

from automatch.settings.database import PoolSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.queue import queue
from automatch.store.queue.queue import BatchCompletion, ClaimRequest
from tests.support import postgres


async def finish_all(database: postgres.Database, batch: int) -> int:
    """Claim and complete until nothing is left; completing a batch claims the next one.

    Completing a job includes its search and writing its matches.
    """
    worker_id, settings = uuid4(), WorkerSettings()
    finished = 0
    async with Database(database.worker, PoolSettings(), name="bench") as db:
        async with db.connection() as conn:
            jobs = await queue.claim_jobs(conn, ClaimRequest(worker_id, batch, settings.lease_s))
        while jobs:
            claim = ClaimRequest(worker_id, batch, settings.lease_s, jobs[0].position)
            result = await queue.complete_batch(db, BatchCompletion(jobs, claim=claim), settings)
            finished += len(result.matches)
            jobs = result.claimed
    return finished


def switch_off_search(database: postgres.Database) -> None:
    """Let every search return nothing at once, so that only the queue is measured."""
    with psycopg.connect(database.owner) as conn:
        conn.execute(_FIND_NOTHING)


_FIND_NOTHING = """
create or replace function automatch.search_for_jobs(p_job_ids uuid[], p_tokens bigint[])
returns automatch.found_face[]
language sql
set search_path = pg_catalog, pg_temp
as $$ select '{}'::automatch.found_face[] $$
"""
