"""A batch is written in two commits whatever its size, and a bad job costs the others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from automatch.errors.job import JobCrashedError
from automatch.errors.photo import NoFaceError
from automatch.errors.store import StorageFullError
from automatch.model.jobs import ClaimedJob
from automatch.photos.folder import FolderPhotos
from automatch.settings.database import PoolSettings
from automatch.store.database import Database as Pool
from automatch.store.queue import queue
from automatch.store.queue.queue import BatchCompletion, ClaimRequest, JobFailure
from automatch.worker import run
from automatch.worker.leases import Leases
from tests.support import build
from tests.support.build import connect, one
from tests.support.postgres import Database
from tests.support.waiting import PATIENCE_S
from tests.support.worker import observe, run_worker, worker_settings

ALL_DONE = "select count(*) = 0 from match_jobs where status in ('pending', 'processing')"
PROCESSED = "select count(*) = 0 from match_jobs where status = 'processing' or attempts = 0"
ROWS = """
    select f.image_path, j.status, j.attempts, j.error_code
    from match_jobs as j join faces as f on f.id = j.face_id
"""
COMPLETED = ("completed", 1, None)
CRASHED = ("pending", 1, "job_crashed")
WHOLE = {"concurrency": 1, "batch_s": 600}
"""One runner that claims all pending jobs at once."""

pytestmark = pytest.mark.anyio


def enqueue_photos(database: Database, count: int, *, embedded: bool) -> list[UUID]:
    """Enqueue photos of *count* people; return the faces in the order of their positions."""
    with connect(database.owner) as conn:
        found = []
        for n in range(count):
            person = build.a_profile(conn, school=f"S{n % 7}", gender=["male", "female"][n % 2])
            face = build.a_face(conn, person, build.unit(0) if embedded else None)
            build.a_job(conn, face)
            found.append(face)
        return found


def run_on_write(database: Database, table: str, condition: str, statement: str) -> None:
    """Run *statement* in a trigger when a written row meets a condition."""
    with connect(database.owner) as conn:
        conn.execute("create sequence if not exists automatch.trigger_runs")
        conn.execute(
            "create function automatch.run_on_write() returns trigger"
            f" language plpgsql security definer as $$ begin {statement}; return new; end $$"
        )
        conn.execute(
            f"create trigger run_on_write before insert or update on {table} for each row"
            f" when ({condition}) execute function automatch.run_on_write()"
        )


def outcomes(database: Database) -> dict[str, tuple[Any, ...]]:
    with connect(database.owner) as conn:
        return {path: tuple(rest) for path, *rest in conn.execute(ROWS).fetchall()}


def path_of(face: UUID) -> str:
    return f"{face.hex[:2]}/{face}"


def ignore(_: object) -> None:
    """Do nothing."""


async def run_until(
    database: Database,
    on_extract: Callable[[str], Any] | None = None,
    condition: str = ALL_DONE,
    **options: Any,
) -> None:
    async with run_worker(database, on_extract, **options), observe(database) as db:
        await db.wait_until(condition)


@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "not embedded"])
@pytest.mark.parametrize("size", [2, 50])
async def test_batch_is_written_in_as_many_commits_whatever_its_size(
    database: Database, size: int, embedded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a slow machine, too, no photo is written later than the others.
    monkeypatch.setattr(run, "_SLOW_PHOTO_S", 30)
    enqueue_photos(database, size, embedded=embedded)

    await run_until(database, **WHOLE)

    with connect(database.owner) as conn:
        # Each commit leaves its transaction id in the rows that it wrote last.
        assert one(conn, "select count(distinct xmin::text) from match_jobs") == 1
        assert one(conn, "select count(distinct xmin::text) from faces") == 1
        assert one(conn, "select count(*) from match_jobs where status = 'completed'") == size
        query = (
            "select count(distinct xmin::text) from (select xmin from faces union all"
            " select xmin from match_jobs) as written"
        )
        assert one(conn, query) == 2


async def test_job_that_cannot_be_completed_costs_the_others_nothing(database: Database) -> None:
    faces = enqueue_photos(database, 20, embedded=True)
    run_on_write(
        database,
        "match_jobs",
        f"new.status = 'completed' and new.face_id = '{faces[7]}'",
        "raise 'poison'",
    )

    await run_until(database, condition=PROCESSED, **WHOLE)

    found = outcomes(database)
    assert found.pop(path_of(faces[7])) == CRASHED
    assert set(found.values()) == {COMPLETED}


@pytest.mark.parametrize(
    ("table", "condition"),
    [("match_jobs", "new.status = 'completed' and "), ("face_embeddings", "")],
    ids=["search", "embedding"],
)
async def test_machine_that_is_away_costs_jobs_of_other_schools_nothing(
    database: Database, table: str, condition: str
) -> None:
    faces = enqueue_photos(database, 9, embedded=table == "match_jobs")
    run_on_write(
        database,
        table,
        f"{condition}new.face_id = '{faces[3]}'",
        "raise 'connection to the remote node failed' using errcode = 'connection_failure'",
    )
    later = (
        "select count(*) = 1 and (select count(*) = 8 from match_jobs where status = 'completed')"
        " from match_jobs where status = 'pending' and scheduled"
        " and run_at > automatch.now() + interval '50 seconds'"
    )

    await run_until(database, condition=later, **WHOLE, outage_pause_max_s=60)

    assert outcomes(database)[path_of(faces[3])] == ("pending", 0, None)


async def test_embedding_that_cannot_be_stored_costs_the_others_nothing(database: Database) -> None:
    faces = enqueue_photos(database, 9, embedded=False)
    run_on_write(
        database,
        "face_embeddings",
        f"new.face_id = '{faces[4]}'",
        "raise 'poison'",
    )

    await run_until(database, condition=PROCESSED, **WHOLE)

    found = outcomes(database)
    assert found.pop(path_of(faces[4])) == CRASHED
    assert set(found.values()) == {COMPLETED}


async def test_failures_of_a_batch_are_not_compared_with_each_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, compared = 48, 0

    def count_comparison(one: object, other: object) -> bool:
        nonlocal compared
        compared += 1
        return one is other

    for kind in (JobFailure, ClaimedJob):
        monkeypatch.setattr(kind, "__eq__", count_comparison)
    faces = enqueue_photos(database, size, embedded=False)
    kinds = [NoFaceError, JobCrashedError, StorageFullError]
    errors = {path_of(face): kinds[n % 3] for n, face in enumerate(faces)}

    def fail(path: str) -> None:
        raise errors[path]

    left = "select count(*) = 0 from match_jobs where not (scheduled or status = 'failed')"
    await run_until(database, fail, left, **WHOLE)

    assert compared <= size
    with connect(database.owner) as conn:
        statuses = conn.execute("select status, attempts, count(*) from match_jobs group by 1, 2")
        assert set(statuses) == {("failed", 1, 16), ("pending", 1, 16), ("pending", 0, 16)}


@pytest.mark.parametrize("error", [MemoryError(), ValueError("x"), RecursionError()], ids=repr)
async def test_embedder_that_raises_costs_its_job_only(
    database: Database, error: Exception
) -> None:
    faces = enqueue_photos(database, 5, embedded=False)

    def on_extract(path: str) -> None:
        if path == path_of(faces[2]):
            raise error

    await run_until(database, on_extract, condition=PROCESSED, **WHOLE)

    found = outcomes(database)
    assert found.pop(path_of(faces[2])) == CRASHED
    assert set(found.values()) == {COMPLETED}


async def test_embedder_that_hangs_costs_its_job_only(database: Database) -> None:
    faces = enqueue_photos(database, 5, embedded=False)

    async def on_extract(path: str) -> None:
        if path == path_of(faces[2]):
            await asyncio.Event().wait()

    # Long enough for the others on a busy machine.
    await run_until(database, on_extract, condition=PROCESSED, job_timeout_s=5, **WHOLE)

    found = outcomes(database)
    assert found.pop(path_of(faces[2])) == CRASHED
    assert set(found.values()) == {COMPLETED}


async def test_photo_that_waits_for_a_slot_does_not_time_out(
    database: Database,
) -> None:
    # Eight at a time; all of them together take longer than the time limit of one.
    enqueue_photos(database, 64, embedded=False)
    slots = asyncio.Semaphore(8)

    async def on_extract(_: str) -> None:
        async with slots:
            await asyncio.sleep(0.5)  # the work

    await run_until(database, on_extract, condition=PROCESSED, job_timeout_s=3, **WHOLE)

    assert set(outcomes(database).values()) == {COMPLETED}


async def test_leases_are_renewed_while_the_event_loop_is_blocked(database: Database) -> None:
    enqueue_photos(database, 1, embedded=False)

    def on_extract(_: str) -> None:
        # Blocks the worker's loop until the lease has been renewed twice.
        with connect(database.owner, autocommit=True) as conn:
            query = "select lease_expires_at from match_jobs"
            for _ in range(2):
                before = one(conn, query)
                while one(conn, query) == before:
                    pass

    await run_until(database, on_extract, lease_s=6, heartbeat_s=0.2)

    assert set(outcomes(database).values()) == {COMPLETED}


async def test_lease_of_a_batch_that_is_held_too_long_is_not_renewed(database: Database) -> None:
    enqueue_photos(database, 2, embedded=True)
    stuck = Leases(database.worker, worker_settings(job_timeout_s=1e-9), ignore, ignore)
    renewed = Leases(database.worker, worker_settings(), ignore, ignore)
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


async def test_isolated_job_runs_alone(database: Database) -> None:
    faces = enqueue_photos(database, 12, embedded=False)
    isolated = {path_of(face) for face in faces[3:6]}
    with connect(database.owner) as conn:
        conn.execute("update match_jobs set isolated = true where face_id = any (%s)", [faces[3:6]])
    running: set[str] = set()
    snapshots: list[set[str]] = []

    async def on_extract(path: str) -> None:
        running.add(path)
        snapshots.append(set(running))
        await asyncio.sleep(0.05)  # the work
        snapshots.append(set(running))
        running.discard(path)

    await run_until(database, on_extract, concurrency=3)

    assert all(len(paths) == 1 for paths in snapshots if paths & isolated)
    assert any(len(paths) > 1 for paths in snapshots)
    assert set(outcomes(database).values()) == {COMPLETED}


async def test_connection_that_breaks_while_a_batch_is_written_costs_no_attempt(
    database: Database,
) -> None:
    enqueue_photos(database, 6, embedded=True)
    run_on_write(
        database,
        "match_jobs",
        "new.status = 'completed'",
        "if nextval('automatch.trigger_runs') = 1"
        " then perform pg_terminate_backend(pg_backend_pid()); end if",
    )

    await run_until(database, **WHOLE)

    assert set(outcomes(database).values()) == {COMPLETED}


async def test_completing_a_batch_again_after_a_lost_answer_gives_the_same_result(
    database: Database,
) -> None:
    enqueue_photos(database, 14, embedded=True)
    feeds = "select * from automatch.feed_entries order by 1, 2"
    async with Pool(database.worker, PoolSettings(), name="test") as db:
        async with db.connection() as conn:
            jobs = await queue.claim_jobs(conn, ClaimRequest(uuid4(), 20, 30))
        first = await queue.complete_batch(db, BatchCompletion(jobs), worker_settings())
        with connect(database.owner, autocommit=True) as conn:
            before = conn.execute(feeds).fetchall()
            second = await queue.complete_batch(db, BatchCompletion(jobs), worker_settings())
            after = conn.execute(feeds).fetchall()

    assert first.matches == second.matches
    assert set(first.matches.values()) == {1}
    assert before == after


async def test_worker_stops_analyzing_a_photo_whose_job_was_cancelled(database: Database) -> None:
    enqueue_photos(database, 1, embedded=False)
    started, stopped = asyncio.Event(), asyncio.Event()

    async def on_extract(_: str) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with run_worker(database, on_extract, heartbeat_s=0.1), observe(database) as db:
        await started.wait()
        await db.rows("select cancel_match_jobs(array(select id from match_jobs))")
        async with asyncio.timeout(PATIENCE_S):
            await stopped.wait()

    assert set(outcomes(database).values()) == {("failed", 1, "job_cancelled")}


async def test_jobs_behind_a_slow_photo_are_released_and_come_after_a_first_photo(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_SLOW_PHOTO_S", 0.05)
    begun, slow = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def on_extract(path: str) -> None:
        order.append(path)
        if len(order) == 1:
            begun.set()
            await slow.wait()

    with connect(database.owner) as conn:
        # Photos that cost much to decode wait like second ones.
        waiting = [build.a_face(conn, build.a_profile(conn, school="UIT")) for _ in range(4)]
        for face in waiting:
            conn.execute("select public.enqueue_match_job(%s, 2::smallint)", [face])
    async with run_worker(database, on_extract, slots=1, **WHOLE), observe(database) as db:
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
        await db.wait_until("select count(*) = 3 from match_jobs where status = 'pending'")
        (first,) = enqueue_photos(database, 1, embedded=False)
        slow.set()
        await db.wait_until(ALL_DONE)

    assert order[1] == path_of(first)
    assert sorted(order) == sorted(map(path_of, [first, *waiting]))
    assert set(outcomes(database).values()) == {COMPLETED}


async def test_photos_that_take_long_leave_a_slot_to_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_COSTLY_PAUSE_S", 0.05)
    costly: set[bytes] = set()
    monkeypatch.setattr(run, "is_costly", costly.__contains__)
    begun, slow = asyncio.Event(), asyncio.Event()
    at_once = most = 0

    async def on_extract(path: str) -> None:
        nonlocal at_once, most
        if path.encode() in costly:
            at_once += 1
            most = max(most, at_once)
            begun.set()
            await slow.wait()
            at_once -= 1

    costly |= {path_of(face).encode() for face in enqueue_photos(database, 6, embedded=False)}
    async with run_worker(database, on_extract, slots=2, concurrency=2), observe(database) as db:
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
        others = enqueue_photos(database, 5, embedded=False)
        query = (
            "select count(*) = 5 from match_jobs where status = 'completed' and face_id = any (%s)"
        )
        await db.wait_until(query, others)
        slow.set()
        await db.wait_until(ALL_DONE)

    assert most == 1
    assert set(outcomes(database).values()) == {COMPLETED}


async def test_copies_of_a_photo_that_was_deleted_meanwhile_do_not_stay(
    database: Database, tmp_path: Path
) -> None:
    [face] = enqueue_photos(database, 1, embedded=False)
    photos = FolderPhotos(tmp_path, min_free_mb=0)
    await photos.put_upload(path_of(face), path_of(face).encode())
    deleted = asyncio.Event()

    async def delete(path: str) -> None:
        with connect(database.owner) as conn:
            conn.execute("delete from faces where id = %s", [face])
        await photos.erase([path])
        deleted.set()

    async with run_worker(database, delete, photos=photos):
        await deleted.wait()

    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
