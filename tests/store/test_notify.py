"""Notifications of workers: none is lost, none is needless, and jobs run without any."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest

from tests.support import build
from tests.support.build import connect
from tests.support.postgres import Database
from tests.support.worker import observe, run_worker

LONG = bool(os.environ.get("AUTOMATCH_TEST_LONG"))
PAIRS = 2_000 if LONG else 60
ENDED = "select count(*) = %s from match_jobs where status = 'completed'"
IDLE_WORKERS = """
    select count(*) = %s from pg_locks
    where locktype = 'advisory' and granted and mode = 'ExclusiveLock'
      and (classid::bigint << 32 | objid::bigint) = automatch.lock_key('idle_worker')
"""

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900 if LONG else 240)]


def faces(database: Database, count: int) -> list[Any]:
    """Add people with one embedded photo each."""
    with connect(database.owner) as conn:
        return [
            build.a_face(conn, build.a_profile(conn, school=f"S{n}"), build.unit(n))
            for n in range(count)
        ]


async def enqueue(database: Database, *face_ids: Any, open_for_s: float = 0) -> None:
    """Enqueue faces in one transaction, which stays open for a while."""
    async with await psycopg.AsyncConnection.connect(database.owner) as conn:
        for face in face_ids:
            await conn.execute("select public.enqueue_match_job(%s)", [face])
        if open_for_s:
            # So that commits overlap.
            await conn.execute("select pg_sleep(%s)", [open_for_s])


async def test_no_notification_is_lost_however_close_jobs_come(database: Database) -> None:
    rng = random.Random(10)
    photos = faces(database, 2 * PAIRS)
    async with run_worker(database), observe(database) as db:
        for done in range(0, 2 * PAIRS, 2):
            await asyncio.gather(
                enqueue(database, photos[done], open_for_s=rng.uniform(0, 0.008)),
                enqueue(database, photos[done + 1], open_for_s=rng.uniform(0, 0.008)),
            )
            # The next poll would come after ten minutes.
            await db.wait_until(ENDED, done + 2)


async def test_job_that_comes_while_a_worker_becomes_idle_is_found(database: Database) -> None:
    photos = faces(database, 12)
    with connect(database.owner) as conn:
        # Lengthens the moment between the claim and the wait until there is a job.
        conn.execute(
            "create or replace function public.register_idle(p_wait interval) returns boolean"
            " language plpgsql security definer as $$ begin"
            " while (select count(*) < 12 and count(*) filter (where status = 'pending') = 0"
            " from public.match_jobs) loop perform pg_sleep(0.02); end loop;"
            " return pg_try_advisory_lock(automatch.lock_key('idle_worker')); end $$"
        )
    registering = (
        "select count(*) > 0 from pg_stat_activity where wait_event = 'PgSleep'"
        " and datname = current_database()"
    )
    async with run_worker(database), observe(database) as db:
        for done, photo in enumerate(photos, start=1):
            await db.wait_until(registering)
            await enqueue(database, photo)
            await db.wait_until(ENDED, done)


async def test_idle_worker_is_notified_once_and_a_busy_one_is_not(database: Database) -> None:
    photos = faces(database, 3)
    started, may_finish = asyncio.Event(), asyncio.Event()

    async def block(_: str) -> None:
        started.set()
        await may_finish.wait()

    with connect(database.owner) as conn:
        conn.execute("delete from face_embeddings")
    async with (
        run_worker(database, block, concurrency=1),
        observe(database) as db,
        await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as listener,
    ):
        await listener.execute("listen automatch_jobs")
        await db.wait_until(IDLE_WORKERS, 1)
        await enqueue(database, photos[0])
        await started.wait()
        notified = [n async for n in listener.notifies(timeout=60, stop_after=1)]
        await db.wait_until(IDLE_WORKERS, 0)
        await enqueue(database, photos[1])
        await enqueue(database, photos[2])
        notified_while_busy = [n async for n in listener.notifies(timeout=0)]
        may_finish.set()
        await db.wait_until(ENDED, 3)

    assert (len(notified), notified[0].payload) == (1, "")
    assert notified_while_busy == []


async def test_everything_works_when_no_notification_ever_comes(database: Database) -> None:
    photos = faces(database, 3)
    with connect(database.owner) as conn:
        conn.execute(
            "create or replace function automatch.wake_workers() returns void"
            " language sql as 'select'"
        )
    async with run_worker(database, poll_s=0.1), observe(database) as db:
        for done, photo in enumerate(photos, start=1):
            await db.wait_until(IDLE_WORKERS, 1)
            await enqueue(database, photo)
            await db.wait_until(ENDED, done)


async def test_one_of_several_idle_workers_is_notified_and_every_job_is_completed(
    database: Database,
) -> None:
    photos = faces(database, 40)
    async with AsyncExitStack() as stack, observe(database) as db:
        for _ in range(3):
            await stack.enter_async_context(run_worker(database))
        await db.wait_until(IDLE_WORKERS, 1)
        for photo in photos:
            await enqueue(database, photo)
        await db.wait_until(ENDED, 40)
        await db.wait_until(IDLE_WORKERS, 1)


async def test_idle_workers_stand_in_line_and_ask_nothing_meanwhile(database: Database) -> None:
    (photo,) = faces(database, 1)
    waiting = (
        "select count(*) = 4 from pg_stat_activity"
        " where wait_event = 'advisory' and datname = current_database()"
    )
    async with AsyncExitStack() as stack, observe(database) as db:
        for _ in range(5):
            await stack.enter_async_context(run_worker(database))
        await db.wait_until(IDLE_WORKERS, 1)
        await db.wait_until(waiting)
        await enqueue(database, photo)
        await db.wait_until(ENDED, 1)
        await db.wait_until(IDLE_WORKERS, 1)
        await db.wait_until(waiting)


async def test_worker_whose_listening_connection_is_cut_gets_the_next_job(
    database: Database,
) -> None:
    photos = faces(database, 2)
    async with run_worker(database), observe(database) as db:
        for done, photo in enumerate(photos, start=1):
            await db.wait_until(IDLE_WORKERS, 1)
            cut = await db.rows(
                "select pg_terminate_backend(pid, 60000) from pg_stat_activity"
                " where datname = current_database()"
                " and application_name = 'automatch-worker-listen'"
            )
            await enqueue(database, photo)
            await db.wait_until(ENDED, done)
            assert cut == [(True,)]


async def test_scheduled_job_is_claimed_when_it_is_due(database: Database) -> None:
    (photo,) = faces(database, 1)
    async with run_worker(database), observe(database) as db:
        await db.wait_until(IDLE_WORKERS, 1)
        await enqueue(database, photo)
        await db.wait_until(ENDED, 1)
        await db.conn.execute(
            "update match_jobs set status = 'pending', scheduled = true, completed_at = null,"
            " match_count = null, position = null, attempts = 0, run_at = now() + interval '0.3 s'"
        )
        # As scheduling a job does, so that an idle worker waits for its time.
        await db.rows("select automatch.wake_workers()")
        await db.wait_until(ENDED, 1)
