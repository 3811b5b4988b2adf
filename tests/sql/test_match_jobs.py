"""The life of a job: every transition, the fence in front of it, and the rows that cannot be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import uuid4

import psycopg
import pytest

from tests.support import build
from tests.support.build import connect, one

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
COLUMNS = "status, attempts, error_code, lease_expires_at, worker_id, completed_at, match_count"


@pytest.fixture
def clock(conn):
    """Stop the clock at NOW; give what moves it on."""
    build.set_clock(conn, NOW)

    def move(**time):
        build.set_clock(conn, NOW + timedelta(**time))

    return move


@pytest.fixture
def face(conn):
    return build.a_face(conn, build.a_profile(conn), build.unit(1))


def state(conn, job, columns="status, attempts, error_code"):
    return conn.execute(f"select {columns} from public.match_jobs where id = %s", [job]).fetchone()


def seconds_to_run(conn, job):
    return (
        one(conn, "select run_at from public.match_jobs where id = %s", job) - NOW
    ).total_seconds()


def retry(conn, job, token, first=2, longest=600):
    return one(
        conn,
        "select status from public.retry_match_jobs(array[%s]::uuid[],"
        " array[%s]::bigint[], array['job_crashed'], array['It broke.'], %s, %s)",
        *(job, token, first, longest),
    )


def fail(conn, job, token):
    return one(
        conn,
        "select count(*) = 1 from public.fail_match_jobs(array[%s]::uuid[],"
        " array[%s]::bigint[], array['no_face'], array['No face.'])",
        job,
        token,
    )


def release(conn, job, token, delay_s=0):
    return one(
        conn,
        "select public.release_match_jobs(array[%s], array[%s::bigint], make_interval(secs => %s))",
        *(job, token, delay_s),
    )


def renew(conn, job, token):
    return one(
        conn, "select public.renew_match_leases(array[%s], array[%s::bigint], '90 s')", job, token
    )


def store(conn, job, token):
    return one(
        conn,
        "select count(*) = 1 from public.store_face_embeddings("
        "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
        " array['{}']::jsonb[], array['{\"detect_ms\": 3}']::jsonb[])",
        *(job, token, build.unit(7)),
    )


def sweep(conn):
    return one(conn, "select public.sweep_match_jobs(2, 600)")


def test_claim_takes_the_oldest_due_job_under_a_lease(conn, clock):
    jobs = [build.a_job(conn, build.a_face(conn, build.a_profile(conn))) for _ in range(3)]
    conn.execute(
        "update public.match_jobs set run_at = %s, scheduled = true where id = %s",
        [NOW + timedelta(1), jobs[0]],
    )
    clock(seconds=2)
    job, token = build.claim(conn, lease_s=30)

    assert job == jobs[1]
    assert state(conn, job, "status, attempts, lease_token, lease_expires_at, timings") == (
        *("processing", 1, token, NOW + timedelta(seconds=32)),
        {"claimed_ms": 2000},
    )
    assert [job for job, _ in build.claim_some(conn, 5)] == [jobs[2]]


def test_completed_job_has_its_matches_and_times(conn, clock):
    (_, her_face), _ = build.a_pair(conn)
    build.a_job(conn, her_face)
    clock(seconds=1)
    job, token = build.claim(conn)
    clock(seconds=2)
    store(conn, job, token)
    build.embed(conn, her_face, build.unit(0))
    clock(seconds=3)

    assert build.complete(conn, job, token) == 1
    assert state(conn, job, COLUMNS) == (
        *("completed", 1, None, None, None),
        *(NOW + timedelta(seconds=3), 1),
    )
    assert state(conn, job, "timings")[0] == {
        "claimed_ms": 1000, "embedded_ms": 2000, "detect_ms": 3, "searched_ms": 3000,
        "written_ms": 3000,
    }  # fmt: skip


def test_no_match_is_a_completed_job(conn, face):
    assert build.a_match(conn, face) == 0


def test_permanent_reason_ends_a_job_at_once(conn, clock, face):
    build.a_job(conn, face)
    job, token = build.claim(conn)

    assert fail(conn, job, token)
    assert state(conn, job, COLUMNS) == ("failed", 1, "no_face", None, None, NOW, None)


@pytest.mark.parametrize("attempt", [1, 2, 3, 4])
def test_retry_waits_twice_as_long_each_time_and_never_longer_than_told(conn, clock, face, attempt):
    waits = []
    for _ in range(30):
        build.a_job(conn, face, attempts=attempt - 1)
        job, token = build.claim(conn)
        assert retry(conn, job, token, first=10, longest=60) == "pending"
        waits.append(seconds_to_run(conn, job))
        conn.execute("delete from public.match_jobs")
    longest = min(60, 10 * 2 ** (attempt - 1))

    assert longest / 2 <= min(waits) < max(waits) <= longest
    assert max(waits) - min(waits) > longest / 8, "the jitter keeps them apart"


def test_retry_goes_behind_those_who_wait_and_is_not_due_before_its_time(conn, clock, face):
    build.a_job(conn, face)
    job, token = build.claim(conn)
    other = build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    retry(conn, job, token)
    assert [job for job, _ in build.claim_some(conn, 5)] == [other]

    clock(seconds=3)
    assert [job for job, _ in build.claim_some(conn, 5)] == [job]
    assert state(conn, job) == ("processing", 2, None)


def test_last_attempt_that_breaks_fails_the_job_with_its_reason(conn, clock, face):
    build.a_job(conn, face, attempts=4)
    job, token = build.claim(conn)

    assert retry(conn, job, token) == "failed"
    assert state(conn, job, COLUMNS) == ("failed", 5, "job_crashed", None, None, NOW, None)


def test_release_costs_no_attempt_and_keeps_the_place(conn, clock, face):
    build.a_job(conn, face)
    build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    job, token = build.claim(conn)
    assert release(conn, job, token, delay_s=5) == 1
    assert state(conn, job, COLUMNS) == ("pending", 0, None, None, None, None, None)
    assert seconds_to_run(conn, job) == 5

    clock(seconds=6)
    assert build.claim(conn)[0] == job


def test_renewal_moves_the_end_of_the_lease(conn, clock, face):
    build.a_job(conn, face)
    job, token = build.claim(conn)
    clock(seconds=10)

    assert renew(conn, job, token) == job
    assert state(conn, job, "lease_expires_at") == (NOW + timedelta(seconds=100),)


@pytest.mark.parametrize(
    ("call", "nothing"),
    [
        *((build.complete, None), (retry, None), (renew, None)),
        *((fail, False), (store, False), (release, 0)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("lost_by", ["sweep", "takeover", "release", "finish"])
def test_worker_without_the_lease_writes_nothing(conn, clock, face, call, nothing, lost_by):
    build.a_job(conn, face)
    job, token = build.claim(conn)
    if lost_by == "release":
        release(conn, job, token)
    elif lost_by == "finish":
        build.complete(conn, job, token)
    else:
        clock(seconds=31)
        sweep(conn)
    if lost_by == "takeover":
        clock(seconds=60)
        assert build.claim(conn)[0] == job
    tables = (
        "select to_jsonb(j) from public.match_jobs as j",
        "select embedding from public.face_embeddings",
    )
    before = [str(conn.execute(table).fetchall()) for table in tables]

    if (lost_by, call) == ("finish", build.complete):
        # Not lost: the answer of a commit that went through, for a worker that did not hear it.
        nothing = 0
    assert call(conn, job, token) == nothing
    assert [str(conn.execute(table).fetchall()) for table in tables] == before


def test_lease_that_has_not_run_out_is_left_alone(conn, clock, face):
    build.a_job(conn, face)
    job, _ = build.claim(conn, lease_s=30)
    clock(seconds=30)

    assert sweep(conn) == 0
    assert state(conn, job) == ("processing", 1, None)


def test_lost_lease_goes_back_with_a_delay(conn, clock, face):
    build.a_job(conn, face)
    job, _ = build.claim(conn, lease_s=30)
    clock(seconds=31)

    assert sweep(conn) == 1
    assert state(conn, job) == ("pending", 1, "worker_lost")
    assert 32 <= seconds_to_run(conn, job) <= 33


def test_job_that_lost_every_worker_fails(conn, clock, face):
    job = build.a_job(conn, face, max_attempts=2)
    for attempt in (1, 2):
        clock(minutes=attempt)
        assert build.claim(conn)[0] == job
        clock(minutes=attempt, seconds=31)
        sweep(conn)

    assert state(conn, job, "status, attempts, error_code, error_message") == (
        *("failed", 2, "worker_lost"),
        "The worker on this job stopped answering; it did so in 2 of 2 attempts.",
    )


def test_crash_between_the_two_commits_is_finished_by_the_next_worker(conn, clock):
    (_, her_face), _ = build.a_pair(conn)
    conn.execute("delete from public.face_embeddings where face_id = %s", [her_face])
    build.a_job(conn, her_face)
    job, token = build.claim(conn)
    assert store(conn, job, token)
    clock(seconds=31)
    sweep(conn)
    clock(seconds=60)
    again, new_token = build.claim(conn)

    assert (again, new_token > token) == (job, True)
    assert build.complete(conn, job, token) is None
    assert build.complete(conn, job, new_token) == 0
    assert state(conn, job) == ("completed", 2, None)


def test_photo_that_nobody_has_seen_is_not_taken_for_one_without_a_match(conn):
    build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    with build.refused("embedding_invalid"):
        build.complete(conn, *build.claim(conn))


def test_person_without_a_gender_is_not_taken_for_one_without_a_match(conn, face):
    build.a_job(conn, face)
    conn.execute("update public.profiles set gender = null")
    with build.refused("profile_incomplete"):
        build.complete(conn, *build.claim(conn))


def test_zero_embedding_is_refused(conn, face):
    build.a_job(conn, face)
    job, token = build.claim(conn)
    with pytest.raises(psycopg.errors.CheckViolation, match="embedding_is_a_unit_vector"):
        conn.execute(
            "select count(*) = 1 from public.store_face_embeddings("
            "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
            " array['{}']::jsonb[], array['{}']::jsonb[])",
            [job, token, build.unit(1) * 0],
        )


@pytest.mark.parametrize(
    ("change", "truth"),
    [
        ("status = 'done'", "status_is_known"),
        ("status = 'processing'", "processing_has_a_lease"),
        ("lease_expires_at = now()", "processing_has_a_lease"),
        ("worker_id = gen_random_uuid()", "processing_has_a_lease"),
        ("status = 'completed', match_count = 0", "finished_has_completed_at"),
        ("completed_at = now()", "finished_has_completed_at"),
        ("status = 'completed', completed_at = now()", "completed_has_match_count"),
        ("match_count = 1", "completed_has_match_count"),
        ("status = 'failed', completed_at = now()", "failed_has_a_reason"),
        ("attempts = -1", "attempts_are_bounded"),
        ("attempts = 6", "attempts_are_bounded"),
        ("attempts = 5", "pending_has_an_attempt_left"),
        ("max_attempts = 0", "pending_has_an_attempt_left"),
    ],
)
def test_row_that_cannot_be_is_refused(conn, face, change, truth):
    build.a_job(conn, face)
    with pytest.raises(psycopg.errors.CheckViolation) as caught, conn.transaction():
        conn.execute(f"update public.match_jobs set {change}")

    assert caught.value.diag.constraint_name in {truth, "attempts_are_bounded"}


def test_photo_has_one_open_job(conn, face):
    job = build.a_job(conn, face)
    assert build.a_job(conn, face) == job
    _, token = build.claim(conn)
    assert build.a_job(conn, face) == job

    build.complete(conn, job, token)
    assert build.a_job(conn, face) != job


@pytest.mark.parametrize("give_back", ["retry", "release", "sweep"])
def test_job_of_a_photo_that_is_queued_again_still_finds_its_way_back(conn, clock, face, give_back):
    build.a_job(conn, face)
    job, token = build.claim(conn)
    build.a_job(conn, face)
    clock(seconds=31)
    {"retry": retry, "release": release, "sweep": lambda conn, *_: sweep(conn)}[give_back](
        conn, job, token
    )

    assert state(conn, job)[0] == "pending"


def test_face_of_nobody_and_of_no_school_is_not_queued(conn):
    assert build.a_job(conn, uuid4()) is None
    assert build.a_job(conn, build.a_face(conn, build.a_profile(conn, school=None))) is None


def test_cleanup_takes_only_what_ended_long_ago(conn, clock, face):
    kept = [build.a_job(conn, face)]
    for days, status in ((8, "completed"), (8, "failed"), (6, "completed")):
        other = build.a_face(conn, build.a_profile(conn))
        kept.append(build.a_job(conn, other))
        conn.execute(
            "update public.match_jobs set status = %(status)s, completed_at = %(at)s,"
            " match_count = case %(status)s when 'completed' then 0 end,"
            " created_at = %(at)s, error_code = 'x', error_message = 'x' where face_id = %(face)s",
            {"status": status, "at": NOW - timedelta(days), "face": other},
        )

    assert one(conn, "select public.cleanup_old_match_jobs()") == 2
    left = conn.execute("select id from public.match_jobs").fetchall()
    assert {job for (job,) in left} == {kept[0], kept[3]}


def test_stats_count_jobs_by_status(conn, clock, face):
    build.a_job(conn, face)
    (_, her_face), _ = build.a_pair(conn)
    build.a_job(conn, her_face, position=0)
    job, token = build.claim(conn)
    clock(seconds=4)
    build.complete(conn, job, token)

    assert conn.execute("select * from public.get_match_job_stats()").fetchall() == [
        ("completed", 1, NOW, 4),
        ("pending", 1, NOW, None),
    ]


@pytest.mark.parametrize("count", [1, 20])
def test_twenty_workers_never_get_the_same_job(database, count):
    workers = 20
    start = Barrier(workers, timeout=60)

    def claim_when_all_are_ready():
        with connect(database.worker) as conn:
            conn.execute("set role service_role")
            # Twenty in turn may take a busy machine longer than a worker waits for a lock.
            conn.execute("set lock_timeout = '60s'")
            start.wait()
            return build.claim_some(conn, 1)

    with connect(database.owner) as conn:
        for _ in range(count):
            build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
    with ThreadPoolExecutor(workers) as threads:
        claims = [threads.submit(claim_when_all_are_ready) for _ in range(workers)]
        claimed = [job for claim in claims for job, _ in claim.result()]

    assert len(claimed) == len(set(claimed)) == count
