"""Workers that are killed, frozen or stopped while they have jobs."""

from __future__ import annotations

import signal
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg

from tests.fault.conftest import Figures, Size
from tests.support.invariants import (
    check_invariants,
    count_open,
    keep_journal,
    read_journal,
    slow_down,
)
from tests.support.photos import portrait
from tests.support.population import add_people, add_photo, enqueue_faces
from tests.support.postgres import Database, TestCluster
from tests.support.recovery import measure_recovery
from tests.support.waiting import PATIENCE_S, wait_until
from tests.support.worker_processes import worker_processes

WORKERS = 2
JOB_S = 0.012
"""Seconds that completing a job takes, so that batches of 20, two at a time, are always running."""
NEVER = datetime.max.replace(tzinfo=UTC)


def test_no_job_is_lost_or_duplicated_while_workers_are_killed(
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    home: Path,
    size: Size,
    figures: Figures,
) -> None:
    keep_journal(owner, job_s=JOB_S)
    jobs = enqueue_faces(owner, add_people(owner, size.jobs))
    kills: dict[UUID, datetime] = {}

    with worker_processes(
        cluster, home, database.owner, worker__batch=20, worker__poll_s=1, **size.lease_of_process
    ) as workers:
        running = workers.start_ready(WORKERS, "instant")
        for number in range(size.kills):
            left = size.jobs * (size.kills - number) // (size.kills + 1)
            wait_until(
                lambda left=left: count_open(owner) <= left, f"{left} jobs left", within_s=600
            )
            # One that was slow to start may have none yet.
            victim = wait_until(
                lambda: next((one for one in running if _held_by(owner, one.worker_id)), None),
                "a worker has jobs",
            )
            running.remove(victim)
            kills[victim.worker_id] = _now(owner)
            victim.send(signal.SIGKILL)
            running.append(workers.start("instant"))
        wait_until(lambda: count_open(owner) == 0, "all jobs ended", within_s=600)
        assert all(worker.is_alive for worker in running)

    steps = check_invariants(owner, jobs)
    assert steps["completed"] == size.jobs
    recovery = measure_recovery(read_journal(owner), kills)
    assert recovery.orphans > 0, "no killed worker held a job"
    assert recovery.requeued_s[-1] <= size.recovery_s + size.slack_s
    figures.note("a worker is killed (SIGKILL)", size.kills, steps, recovery)


def test_no_job_is_duplicated_while_workers_are_frozen_past_their_leases(
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    home: Path,
    size: Size,
    figures: Figures,
) -> None:
    keep_journal(owner, job_s=JOB_S)
    jobs = enqueue_faces(owner, add_people(owner, size.jobs // 3))
    freezes = size.freezes

    with worker_processes(
        cluster, home, database.owner, worker__batch=20, worker__poll_s=1, **size.lease_of_process
    ) as workers:
        running = workers.start_ready(2, "instant")
        for number in range(freezes):
            left = len(jobs) * (freezes - number) // (freezes + 1)
            wait_until(
                lambda left=left: count_open(owner) <= left, f"{left} jobs left", within_s=600
            )
            frozen = running[number % 2]
            frozen.send(signal.SIGSTOP)
            wait_until(
                lambda frozen=frozen: not _held_by(owner, frozen.worker_id),
                "other workers have its jobs",
                within_s=size.recovery_s + size.slack_s,
            )
            frozen.send(signal.SIGCONT)
        wait_until(lambda: count_open(owner) == 0, "all jobs ended", within_s=600)
        assert all(worker.is_alive for worker in running)

    steps = check_invariants(owner, jobs)
    assert steps["completed"] == len(jobs)
    figures.note("a worker is frozen past its leases (SIGSTOP) and continues", freezes, steps)


def test_worker_that_was_frozen_past_its_lease_writes_nothing(
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    home: Path,
    size: Size,
    figures: Figures,
) -> None:
    keep_journal(owner)
    genders = ("female", "male")
    faces = [add_photo(owner, home, portrait(n), gender=genders[n % 2]) for n in range(4)]
    jobs = enqueue_faces(owner, faces)

    with worker_processes(
        cluster, home, database.owner, worker__poll_s=1, **size.lease_of_process
    ) as workers:
        (frozen,) = workers.start_ready(1, "blocking")
        frozen.wait_for_log("extraction started")
        held = wait_until(lambda: _held_by(owner, frozen.worker_id), "it has jobs")
        frozen.send(signal.SIGSTOP)
        stopped_at = time.monotonic()
        (other,) = workers.start_ready(1, "instant")
        wait_until(lambda: count_open(owner) == 0, "all jobs ended")
        wait_until(
            lambda: time.monotonic() - stopped_at > size.frozen_s, "frozen for long", within_s=120
        )
        written = _what_was_written(owner)
        other.send(signal.SIGTERM)
        assert other.process.wait(PATIENCE_S) == 0
        frozen.send(signal.SIGCONT)
        for _ in range(2 * len(faces)):
            frozen.write_line("see")
        # It still works; and when this job has ended, its earlier writes have been sent too.
        late = enqueue_faces(owner, [add_photo(owner, home, portrait(9), school="HCMUS")])
        wait_until(lambda: count_open(owner) == 0, "the late job ended")

    assert _what_was_written(owner) == written
    ends = [change for change in read_journal(owner) if change.name == "completed"]
    assert {change.job_id for change in ends if change.old_worker_id == other.worker_id} >= held
    steps = check_invariants(owner, jobs + late)
    assert steps["completed"] == len(jobs) + 1
    figures.note("a worker is frozen while it analyzes photos", 1, steps)


def test_photo_that_kills_its_worker_fails_alone(
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    home: Path,
    size: Size,
    figures: Figures,
) -> None:
    keep_journal(owner)
    others = [add_photo(owner, home, portrait(number)) for number in range(size.photos)]
    deadly = add_photo(owner, home, portrait(0, blue=True))
    known = add_people(owner, 40, school="HCMUS")
    # The deadly photo comes first, so that the rest of its batch is not complete when it kills.
    jobs = enqueue_faces(owner, [deadly, *others, *known])
    owner.execute("update public.match_jobs set max_attempts = 2 where face_id = %s", [deadly])
    owner.commit()
    died_at: dict[UUID, datetime] = {}

    # One batch claims all of them the first time.
    with worker_processes(
        cluster, home, database.owner, worker__batch_s=10, worker__poll_s=1, **size.lease_of_process
    ) as workers:
        running = workers.start_ready(1, "crashing")

        def ended() -> bool:
            for worker in [one for one in running if not one.is_alive]:
                died_at[worker.worker_id] = _now(owner)
                running.remove(worker)
                running.append(workers.start("crashing"))
            return count_open(owner) == 0

        wait_until(ended, "all jobs ended", within_s=600)

    rows = {
        row[0]: row[1:]
        for row in owner.execute(
            "select face_id, status, attempts, max_attempts, error_code from public.match_jobs"
        ).fetchall()
    }
    status, attempts, max_attempts, code = rows.pop(deadly)
    assert (status, attempts, code) == ("failed", max_attempts, "worker_lost")
    assert {status for status, *_ in rows.values()} == {"completed"}
    expired = [
        change
        for change in read_journal(owner)
        if change.name == "expired" and change.job_id != jobs[0]
    ]
    assert expired, "no other photo was lost"
    # A running worker on a busy machine may lose a lease; only killed workers count here.
    lost = Counter(
        change.job_id for change in expired if change.at > died_at.get(change.old_worker_id, NEVER)
    )
    assert max(lost.values(), default=0) <= 1, "another photo was lost more than once"
    assert 1 < len(died_at) <= max_attempts
    steps = check_invariants(owner, jobs)
    assert steps["exhausted"] == 1
    figures.note("a photo kills its worker at every attempt", len(died_at), steps)


def test_stopped_worker_completes_or_releases_all_its_jobs(
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    home: Path,
    figures: Figures,
) -> None:
    keep_journal(owner)
    jobs = enqueue_faces(owner, add_people(owner, 160))
    # The others cannot end in the time that it has to stop.
    slow_down(owner, 60, but_for=jobs[0])

    with worker_processes(
        cluster, home, database.owner, worker__batch=1, worker__shutdown_timeout_s=0.3
    ) as workers:
        (stopped,) = workers.start_ready(1)
        wait_until(lambda: count_open(owner) < len(jobs), "the first job ended")
        stopped.send(signal.SIGTERM)
        assert stopped.process.wait(PATIENCE_S) == 0
        waiting = owner.execute(
            "select status, attempts, isolated from public.match_jobs where status <> 'completed'"
        ).fetchall()
        owner.execute("drop trigger slow_completion on public.match_jobs")
        owner.commit()
        workers.start_ready(1, "instant")
        wait_until(lambda: count_open(owner) == 0, "all jobs ended")

    assert set(waiting) == {("pending", 0, False)}
    steps = check_invariants(owner, jobs)
    assert steps["released"] > 0, "the worker had no job left to release"
    assert steps["expired"] == 0
    figures.note("a worker is stopped (SIGTERM)", 1, steps)


def _held_by(conn: psycopg.Connection, worker_id: UUID) -> set[UUID]:
    rows = conn.execute(
        "select id from public.match_jobs where worker_id = %s", [worker_id]
    ).fetchall()
    conn.commit()
    return {row[0] for row in rows}


def _what_was_written(conn: psycopg.Connection) -> list[tuple[object, ...]]:
    rows = conn.execute(
        "select f.id, e.embedding::text, j.status, j.lease_token, j.completed_at, j.timings"
        " from public.faces as f join public.match_jobs as j on j.face_id = f.id"
        " left join public.face_embeddings as e on e.face_id = f.id"
        " join public.profiles as p on p.id = f.profile_id"
        " where p.school = 'UIT' order by f.id"
    ).fetchall()
    conn.commit()
    return rows


def _now(conn: psycopg.Connection) -> datetime:
    row = conn.execute("select clock_timestamp()").fetchone()
    conn.commit()
    assert row is not None
    return row[0]
