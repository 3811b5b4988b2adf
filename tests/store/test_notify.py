"""The wake-up: none is lost, none is sent for nothing, and all goes on without any."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest

from tests.support import build
from tests.support.bench import onlooker, working
from tests.support.build import connect
from tests.support.postgres import Database

LONG = bool(os.environ.get("AUTOMATCH_TEST_LONG"))
PAIRS = 2_000 if LONG else 60
ENDED = "select count(*) = %s from match_jobs where status = 'completed'"
ASLEEP = """
    select count(*) = %s from pg_locks
    where locktype = 'advisory' and granted and mode = 'ExclusiveLock'
      and (classid::bigint << 32 | objid::bigint) = automatch.doorbell()
"""

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900 if LONG else 90)]


def faces(database: Database, count: int) -> list[Any]:
    """Write people with a photo each, seen already."""
    with connect(database.owner) as conn:
        return [
            build.a_face(conn, build.a_profile(conn, school=f"S{n}"), build.unit(n))
            for n in range(count)
        ]


async def enqueue(database: Database, *some: Any, open_for_s: float = 0) -> None:
    """Queue faces in one transaction, which stays open for a while."""
    async with await psycopg.AsyncConnection.connect(database.owner) as conn:
        for face in some:
            await conn.execute("select public.enqueue_match_job(%s)", [face])
        if open_for_s:
            # Part of the arrangement: commits that overlap.
            await conn.execute("select pg_sleep(%s)", [open_for_s])


async def test_no_wake_up_is_lost_however_close_jobs_come(database: Database) -> None:
    dice = random.Random(10)
    photos = faces(database, 2 * PAIRS)
    async with working(database), onlooker(database) as db:
        for done in range(0, 2 * PAIRS, 2):
            await asyncio.gather(
                enqueue(database, photos[done], open_for_s=dice.uniform(0, 0.008)),
                enqueue(database, photos[done + 1], open_for_s=dice.uniform(0, 0.008)),
            )
            # The next poll would come after a minute.
            await db.until(ENDED, done + 2, seconds=10)


async def test_job_that_comes_while_a_worker_falls_asleep_is_found(database: Database) -> None:
    photos = faces(database, 12)
    with connect(database.owner) as conn:
        # Makes the moment between the look at the queue and the sleep a long one.
        conn.execute(
            "create or replace function public.register_idle() returns boolean language plpgsql"
            " security definer as $$ begin perform pg_sleep(0.2);"
            " return pg_try_advisory_lock(automatch.doorbell()); end $$"
        )
    falling = (
        "select count(*) > 0 from pg_stat_activity where wait_event = 'PgSleep'"
        " and datname = current_database()"
    )
    async with working(database), onlooker(database) as db:
        for done, photo in enumerate(photos, start=1):
            await db.until(falling)
            await enqueue(database, photo)
            await db.until(ENDED, done, seconds=10)


async def test_sleeping_worker_is_notified_once_and_a_busy_one_is_not(database: Database) -> None:
    photos = faces(database, 3)
    entered, let = asyncio.Event(), asyncio.Event()

    async def hold(_: str) -> None:
        entered.set()
        await let.wait()

    with connect(database.owner) as conn:
        conn.execute("update faces set embedding = null, embedding_model = null")
    async with (
        working(database, hold, concurrency=1),
        onlooker(database) as db,
        await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as ear,
    ):
        await ear.execute("listen automatch_jobs")
        await db.until(ASLEEP, 1)
        await enqueue(database, photos[0])
        await entered.wait()
        rung = [n async for n in ear.notifies(timeout=10, stop_after=1)]
        await db.until(ASLEEP, 0)
        await enqueue(database, photos[1])
        await enqueue(database, photos[2])
        rung_while_busy = [n async for n in ear.notifies(timeout=0)]
        let.set()
        await db.until(ENDED, 3)

    assert (len(rung), rung[0].payload) == (1, "")
    assert rung_while_busy == []


async def test_everything_works_when_no_notification_ever_comes(database: Database) -> None:
    photos = faces(database, 3)
    with connect(database.owner) as conn:
        conn.execute(
            "create or replace function automatch.wake_workers() returns void"
            " language sql as 'select'"
        )
    async with working(database, poll_s=0.1), onlooker(database) as db:
        for done, photo in enumerate(photos, start=1):
            await db.until(ASLEEP, 1)
            await enqueue(database, photo)
            await db.until(ENDED, done)


async def test_one_of_several_sleeping_workers_holds_the_doorbell_and_every_job_is_done(
    database: Database,
) -> None:
    photos = faces(database, 40)
    async with AsyncExitStack() as stack, onlooker(database) as db:
        for _ in range(3):
            await stack.enter_async_context(working(database))
        await db.until(ASLEEP, 1)
        for photo in photos:
            await enqueue(database, photo)
        await db.until(ENDED, 40)
        await db.until(ASLEEP, 1)


async def test_worker_whose_doorbell_is_cut_hears_the_next_ring(database: Database) -> None:
    photos = faces(database, 2)
    async with working(database), onlooker(database) as db:
        for done, photo in enumerate(photos, start=1):
            await db.until(ASLEEP, 1)
            cut = await db.rows(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                " where datname = current_database()"
                " and application_name = 'automatch-worker-listen'"
            )
            await enqueue(database, photo)
            await db.until(ENDED, done)
            assert cut == [(True,)]


async def test_job_that_is_put_off_is_taken_up_when_it_is_due(database: Database) -> None:
    (photo,) = faces(database, 1)
    async with working(database), onlooker(database) as db:
        await db.until(ASLEEP, 1)
        await enqueue(database, photo)
        await db.until(ENDED, 1)
        await db.conn.execute(
            "update match_jobs set status = 'pending', scheduled = true, completed_at = null,"
            " match_count = null, position = null, attempts = 0, run_at = now() + interval '0.3 s'"
        )
        # Whoever puts a job off rings, so that a sleeper reckons anew.
        await db.rows("select automatch.wake_workers()")
        await db.until(ENDED, 1)
