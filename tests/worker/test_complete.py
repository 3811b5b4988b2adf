"""A batch: written whole whatever its size, and what one bad job costs the others: nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from automatch.settings.database import PoolSettings
from automatch.store import queue
from automatch.store.database import Database as Pool
from automatch.store.queue import BatchCompletion, ClaimRequest
from automatch.worker import run
from automatch.worker.leases import Leases
from tests.support import build
from tests.support.bench import onlooker, settings_of, working
from tests.support.build import connect, one
from tests.support.postgres import Database

ALL_DONE = "select count(*) = 0 from match_jobs where status in ('pending', 'processing')"
SETTLED = "select count(*) = 0 from match_jobs where status = 'processing' or attempts = 0"
ROWS = """
    select f.image_path, j.status, j.attempts, j.error_code
    from match_jobs as j join faces as f on f.id = j.face_id
"""
COMPLETED = ("completed", 1, None)
CRASHED = ("pending", 1, "job_crashed")
WHOLE = {"concurrency": 1, "batch_s": 600}
"""One lane that takes all that waits at once."""

pytestmark = pytest.mark.anyio


def queue_up(database: Database, count: int, *, seen: bool) -> list[UUID]:
    """Queue photos of so many people; return the faces in the order of their turns."""
    with connect(database.owner) as conn:
        found = []
        for n in range(count):
            person = build.a_profile(conn, school=f"S{n % 7}", gender=["male", "female"][n % 2])
            face = build.a_face(conn, person, build.unit(0) if seen else None)
            build.a_job(conn, face)
            found.append(face)
        return found


def break_when(database: Database, table: str, condition: str, what: str) -> None:
    """Let Postgres do *what* when a row is written of which a condition holds."""
    with connect(database.owner) as conn:
        conn.execute("create sequence if not exists automatch.happened")
        conn.execute(
            "create function automatch.breaks() returns trigger language plpgsql security definer"
            f" as $$ begin {what}; return new; end $$"
        )
        conn.execute(
            f"create trigger breaks before update on {table} for each row"
            f" when ({condition}) execute function automatch.breaks()"
        )


def outcomes(database: Database) -> dict[str, tuple[Any, ...]]:
    with connect(database.owner) as conn:
        return {path: tuple(rest) for path, *rest in conn.execute(ROWS).fetchall()}


def path_of(face: UUID) -> str:
    return f"{face.hex[:2]}/{face}"


async def work_off(
    database: Database,
    look: Callable[[str], Any] | None = None,
    until: str = ALL_DONE,
    **more: Any,
) -> None:
    async with working(database, look, **more), onlooker(database) as db:
        await db.until(until)


@pytest.mark.parametrize("seen", [True, False], ids=["seen already", "to be seen"])
@pytest.mark.parametrize("size", [2, 50])
async def test_batch_is_written_in_as_many_commits_whatever_its_size(
    database: Database, size: int, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine: no photo comes too late for the others.
    monkeypatch.setattr(run, "_SLOW_PHOTO_S", 30)
    queue_up(database, size, seen=seen)

    await work_off(database, **WHOLE)

    with connect(database.owner) as conn:
        # Each commit leaves its number in the rows that it wrote last.
        assert one(conn, "select count(distinct xmin::text) from match_jobs") == 1
        assert one(conn, "select count(distinct xmin::text) from faces") == 1
        assert one(conn, "select count(*) from match_jobs where status = 'completed'") == size
        query = (
            "select count(distinct xmin::text) from (select xmin from faces union all"
            " select xmin from match_jobs) as written"
        )
        assert one(conn, query) == 2


async def test_job_that_cannot_be_completed_costs_its_mates_nothing(database: Database) -> None:
    faces = queue_up(database, 20, seen=True)
    break_when(
        database,
        "match_jobs",
        f"new.status = 'completed' and new.face_id = '{faces[7]}'",
        "raise 'poison'",
    )

    await work_off(database, until=SETTLED, **WHOLE)

    found = outcomes(database)
    assert found.pop(path_of(faces[7])) == CRASHED
    assert set(found.values()) == {COMPLETED}


async def test_embedding_that_cannot_be_kept_costs_its_mates_nothing(database: Database) -> None:
    faces = queue_up(database, 9, seen=False)
    break_when(
        database,
        "faces",
        f"new.embedding is not null and new.id = '{faces[4]}'",
        "raise 'poison'",
    )

    await work_off(database, until=SETTLED, **WHOLE)

    found = outcomes(database)
    assert found.pop(path_of(faces[4])) == CRASHED
    assert set(found.values()) == {COMPLETED}


@pytest.mark.parametrize("error", [MemoryError(), ValueError("x"), RecursionError()], ids=repr)
async def test_embedder_that_raises_costs_its_job_only(
    database: Database, error: Exception
) -> None:
    faces = queue_up(database, 5, seen=False)

    def look(path: str) -> None:
        if path == path_of(faces[2]):
            raise error

    await work_off(database, look, until=SETTLED, **WHOLE)

    found = outcomes(database)
    assert found.pop(path_of(faces[2])) == CRASHED
    assert set(found.values()) == {COMPLETED}


async def test_embedder_that_hangs_costs_its_job_only(database: Database) -> None:
    faces = queue_up(database, 5, seen=False)

    async def look(path: str) -> None:
        if path == path_of(faces[2]):
            await asyncio.Event().wait()

    await work_off(database, look, until=SETTLED, job_timeout_s=2, **WHOLE)

    found = outcomes(database)
    assert found.pop(path_of(faces[2])) == CRASHED
    assert set(found.values()) == {COMPLETED}


async def test_photo_that_waits_for_its_turn_is_not_taken_for_one_that_hangs(
    database: Database,
) -> None:
    # Eight at a time, and all of them together longer than one may take.
    queue_up(database, 64, seen=False)
    desks = asyncio.Semaphore(8)

    async def look(_: str) -> None:
        async with desks:
            await asyncio.sleep(0.5)  # the work

    await work_off(database, look, until=SETTLED, job_timeout_s=3, **WHOLE)

    assert set(outcomes(database).values()) == {COMPLETED}


async def test_leases_are_renewed_while_the_event_loop_stands_still(database: Database) -> None:
    queue_up(database, 1, seen=False)

    def look(_: str) -> None:
        # Blocks the loop of the worker until the lease has moved on twice.
        with connect(database.owner, autocommit=True) as conn:
            query = "select lease_expires_at from match_jobs"
            for _ in range(2):
                before = one(conn, query)
                while one(conn, query) == before:
                    pass

    await work_off(database, look, lease_s=6, heartbeat_s=0.2)

    assert set(outcomes(database).values()) == {COMPLETED}


async def test_lease_of_a_batch_that_is_held_too_long_is_not_renewed(database: Database) -> None:
    queue_up(database, 2, seen=True)
    stuck = Leases(database.worker, settings_of(job_timeout_s=1e-9), lambda _: None)
    renewed = Leases(database.worker, settings_of(), lambda _: None)
    query = "select lease_expires_at from match_jobs where id = %s"
    async with Pool(database.worker, PoolSettings(), name="test") as db:
        async with db.connection() as conn:
            first, second = await queue.claim_jobs(conn, ClaimRequest(uuid4(), 2, 30))
        with connect(database.owner, autocommit=True) as conn:
            before = [one(conn, query, job.id) for job in (first, second)]
            stuck.hold([first])
            renewed.hold([second])
            for leases in (stuck, renewed):
                assert await leases._renew(db, asyncio.get_running_loop())
            after = [one(conn, query, job.id) for job in (first, second)]

    assert after[0] == before[0]
    assert after[1] > before[1]


async def test_job_that_a_worker_was_lost_with_runs_alone(database: Database) -> None:
    faces = queue_up(database, 12, seen=False)
    isolated = {path_of(face) for face in faces[3:6]}
    with connect(database.owner) as conn:
        conn.execute("update match_jobs set isolated = true where face_id = any (%s)", [faces[3:6]])
    looking: set[str] = set()
    crowds: list[set[str]] = []

    async def look(path: str) -> None:
        looking.add(path)
        crowds.append(set(looking))
        await asyncio.sleep(0.05)  # the work
        crowds.append(set(looking))
        looking.discard(path)

    await work_off(database, look, concurrency=3)

    assert all(len(crowd) == 1 for crowd in crowds if crowd & isolated)
    assert any(len(crowd) > 1 for crowd in crowds)
    assert set(outcomes(database).values()) == {COMPLETED}


async def test_connection_that_breaks_while_a_batch_is_written_costs_no_attempt(
    database: Database,
) -> None:
    queue_up(database, 6, seen=True)
    break_when(
        database,
        "match_jobs",
        "new.status = 'completed'",
        "if nextval('automatch.happened') = 1"
        " then perform pg_terminate_backend(pg_backend_pid()); end if",
    )

    await work_off(database, **WHOLE)

    assert set(outcomes(database).values()) == {COMPLETED}


async def test_batch_that_is_settled_again_because_the_answer_was_lost_is_told_the_same(
    database: Database,
) -> None:
    queue_up(database, 14, seen=True)
    feeds = "select * from automatch.feed_entries order by 1, 2"
    async with Pool(database.worker, PoolSettings(), name="test") as db:
        async with db.connection() as conn:
            jobs = await queue.claim_jobs(conn, ClaimRequest(uuid4(), 20, 30))
        first = await queue.complete_batch(db, BatchCompletion(jobs), settings_of())
        with connect(database.owner, autocommit=True) as conn:
            before = conn.execute(feeds).fetchall()
            second = await queue.complete_batch(db, BatchCompletion(jobs), settings_of())
            after = conn.execute(feeds).fetchall()

    assert first.matches == second.matches
    assert set(first.matches.values()) == {1}
    assert before == after


async def test_worker_stops_looking_at_a_photo_whose_job_was_cancelled(database: Database) -> None:
    queue_up(database, 1, seen=False)
    looking, stopped = asyncio.Event(), asyncio.Event()

    async def look(_: str) -> None:
        looking.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with working(database, look, heartbeat_s=0.1), onlooker(database) as db:
        await looking.wait()
        await db.rows("select cancel_match_jobs(array(select id from match_jobs))")
        async with asyncio.timeout(30):
            await stopped.wait()

    assert set(outcomes(database).values()) == {("failed", 1, "job_cancelled")}
