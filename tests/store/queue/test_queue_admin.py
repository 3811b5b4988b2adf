"""The operator's hands on the queue, as SQL functions: each with its row in the audit log."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support import build
from tests.support.build import (
    a_face,
    a_job,
    a_profile,
    acting,
    claim,
    claim_some,
    complete,
    one,
    refused,
)


def _row(conn: psycopg.Connection, job: UUID) -> dict[str, Any]:
    (row,) = conn.execute("select to_jsonb(j) from public.match_jobs as j where id = %s", [job])
    return row[0]


def _last_act(conn: psycopg.Connection) -> tuple[str, str, dict[str, Any]]:
    row = conn.execute(
        "select actor, action, details from automatch.audit_log order by id desc limit 1"
    ).fetchone()
    assert row is not None
    return row


def _waiting(
    conn: psycopg.Connection, count: int, *, school: str = "UIT", person: UUID | None = None
) -> list[UUID]:
    """Queue *count* photos, each of a person of their own unless one is named."""
    return [
        a_job(conn, a_face(conn, person or a_profile(conn, school=school))) for _ in range(count)
    ]


def _failed(
    conn: psycopg.Connection, code: str = "job_crashed", *, face: UUID | None = None
) -> UUID:
    job = a_job(conn, face or a_face(conn, a_profile(conn)))
    _, token = claim(conn)
    assert build.fail(conn, job, token, code)
    return job


def _claimed(conn: psycopg.Connection, limit: int = 100) -> set[UUID]:
    return {job for job, _ in claim_some(conn, limit)}


def test_paused_queue_allows_no_claims_and_accepts_jobs(conn):
    before = _waiting(conn, 2)
    waiting = one(conn, "select public.pause_match_jobs(null, 'linh')")
    after = _waiting(conn, 1)
    while_paused = _claimed(conn)
    act = _last_act(conn)
    resumed = one(conn, "select public.resume_match_jobs(null, 'linh')")

    assert (waiting, while_paused, resumed) == (2, set(), 3)
    assert act == ("linh", "pause", {"waiting": 2})
    assert _last_act(conn) == ("linh", "resume", {"waiting": 3})
    assert _claimed(conn) == {*before, *after}


def test_running_jobs_are_completed_while_the_queue_is_paused(conn):
    center = build.unit(1)
    job = a_job(conn, a_face(conn, a_profile(conn), center))
    claimed = claim(conn)
    conn.execute("select public.pause_match_jobs()")

    assert complete(conn, *claimed) == 0
    assert _row(conn, job)["status"] == "completed"


def test_paused_school_waits_with_its_new_uploads_and_no_other_school_does(conn):
    before = _waiting(conn, 2, school="UIT")
    other = _waiting(conn, 2, school="HUST")
    waiting = one(conn, "select public.pause_match_jobs('UIT', 'linh')")
    after = _waiting(conn, 1, school="UIT")
    claimed = _claimed(conn)

    assert waiting == 2
    assert claimed == set(other)
    assert all(_row(conn, job)["run_at"] == "infinity" for job in before + after)
    assert _last_act(conn) == ("linh", "pause", {"school": "UIT", "waiting": 2})
    assert one(conn, "select public.seconds_to_next_match_job()") is None
    assert one(conn, "select run_at from public.list_match_jobs('pending') limit 1") is None


def test_released_job_of_a_paused_school_waits_too(conn):
    (job,) = _waiting(conn, 1)
    (held,) = claim_some(conn, 1)
    conn.execute("select public.pause_match_jobs('UIT')")
    conn.execute("select public.release_match_jobs(%s, %s)", [[held[0]], [held[1]]])

    assert _claimed(conn) == set()
    assert one(conn, "select public.resume_match_jobs('UIT')") == 1
    assert _claimed(conn) == {job}


def test_resumed_school_gets_positions_behind_the_pending_jobs(conn):
    paused = _waiting(conn, 4, school="UIT")
    conn.execute("select public.pause_match_jobs('UIT')")
    _waiting(conn, 20, school="HUST")
    assert len(_claimed(conn)) == 20
    other = _waiting(conn, 4, school="HUST")
    resumed = one(conn, "select public.resume_match_jobs('UIT', 'linh')")
    order = [job for _ in range(8) for job, _ in claim_some(conn, 1)]

    assert resumed == 4
    assert _last_act(conn) == ("linh", "resume", {"school": "UIT", "waiting": 4})
    assert set(order) == {*paused, *other}
    # Neither all of the one school first nor all of the other.
    assert {*order[:4]} & {*paused}
    assert {*order[:4]} & {*other}
    assert [job for job in order if job in paused] == paused


def test_resuming_the_queue_leaves_a_school_that_was_paused_by_name(conn):
    _waiting(conn, 1, school="UIT")
    conn.execute("select public.pause_match_jobs('UIT'), public.pause_match_jobs()")

    assert one(conn, "select public.resume_match_jobs()") == 0
    assert _claimed(conn) == set()


def test_school_is_found_whatever_the_case_and_an_unknown_one_is_refused(conn):
    _waiting(conn, 1, school="UIT")

    assert one(conn, "select public.pause_match_jobs(' uit ')") == 1
    assert one(conn, "select paused_schools from public.get_match_queue()") == ["UIT"]
    for name in ("Nowhere", ""):
        for act in ("pause", "resume"):
            with refused("school_unknown"), conn.transaction():
                conn.execute(f"select public.{act}_match_jobs(%s)", [name])


def test_school_that_everybody_left_can_be_resumed(conn):
    person = a_profile(conn, school="UIT")
    _waiting(conn, 1, person=person)
    conn.execute("select public.pause_match_jobs('UIT')")
    conn.execute("update public.profiles set school = 'HUST' where id = %s", [person])

    assert one(conn, "select public.resume_match_jobs('UIT')") == 1


def test_concurrency_limits_the_jobs_of_each_worker(conn):
    jobs = _waiting(conn, 6)
    first, second = uuid4(), uuid4()
    conn.execute("select public.set_match_concurrency(2, 'linh')")

    def claims(worker: UUID) -> int:
        return len(
            conn.execute("select from public.claim_match_jobs(%s, 10, '30 s')", [worker]).fetchall()
        )

    assert _last_act(conn) == ("linh", "concurrency", {"jobs": 2})
    assert [claims(first), claims(first), claims(second)] == [2, 0, 2]
    assert one(conn, "select concurrency from public.get_match_queue()") == 2
    conn.execute("select public.set_match_concurrency(null, 'linh')")
    assert _last_act(conn) == ("linh", "concurrency", {})
    assert claims(first) == len(jobs) - 4


def test_concurrency_of_zero_is_refused(conn):
    with refused("input_invalid"):
        conn.execute("select public.set_match_concurrency(0)")


@pytest.mark.parametrize("by", ["id", "code", "all"])
def test_failed_jobs_get_all_their_attempts_again(conn, by):
    job, other = _failed(conn, "job_crashed"), _failed(conn, "no_face")
    arguments = {"id": ([job], None), "code": (None, "job_crashed"), "all": (None, None)}[by]
    counted = one(conn, "select public.count_retryable_match_jobs(%s)", arguments[1])
    count = one(conn, "select public.retry_failed_match_jobs(%s, %s, 'linh')", *arguments)
    row = _row(conn, job)

    expected = {job, other} if by == "all" else {job}
    actor, action, details = _last_act(conn)
    assert (actor, action, details["count"]) == ("linh", "retry", len(expected))
    assert details.get("code") == arguments[1]
    assert count == len(expected)
    assert by == "id" or counted == count
    assert (row["status"], row["attempts"], row["error_code"]) == ("pending", 0, None)
    assert row["completed_at"] is None
    assert _claimed(conn) == expected


def test_of_several_failed_jobs_of_a_photo_the_newest_runs_again(conn):
    face = a_face(conn, a_profile(conn))
    old, new = _failed(conn, face=face), _failed(conn, face=face)
    conn.execute(
        "update public.match_jobs set completed_at = now() - interval '1 hour' where id = %s", [old]
    )

    assert one(conn, "select public.count_retryable_match_jobs()") == 1
    assert one(conn, "select public.retry_failed_match_jobs()") == 1
    assert _claimed(conn) == {new}


def test_photo_with_an_open_job_is_not_retried(conn):
    face = a_face(conn, a_profile(conn))
    failed = _failed(conn, face=face)
    a_job(conn, face)

    assert one(conn, "select public.retry_failed_match_jobs()") == 0
    assert one(conn, "select public.retry_failed_match_jobs(%s)", [failed]) == 0


def test_photo_that_was_searched_for_since_is_retried_only_by_name(conn):
    face = a_face(conn, a_profile(conn), build.unit(1))
    failed = _failed(conn, face=face)
    build.a_match(conn, face)

    assert one(conn, "select public.count_retryable_match_jobs()") == 0
    assert one(conn, "select public.retry_failed_match_jobs()") == 0
    assert one(conn, "select public.retry_failed_match_jobs(%s)", [failed]) == 1


def test_cancelled_job_fails_and_its_worker_writes_nothing(conn):
    ended = _failed(conn)
    (_, her_face), _ = build.a_pair(conn)
    job = a_job(conn, her_face)
    held = claim(conn)
    (waiting,) = _waiting(conn, 1)

    count = one(conn, "select public.cancel_match_jobs(%s, 'linh')", [job, waiting, ended, uuid4()])

    assert count == 2
    assert _last_act(conn)[:2] == ("linh", "cancel")
    assert complete(conn, *held) is None
    assert _row(conn, job)["lease_token"] > held[1]
    assert one(conn, "select count(*) from public.matches") == 0
    for row in (_row(conn, job), _row(conn, waiting)):
        assert (row["status"], row["error_code"]) == ("failed", "job_cancelled")
    assert _row(conn, ended)["error_code"] == "job_crashed"
    assert _claimed(conn) == set()


def test_cancelled_job_of_a_paused_school_can_be_retried(conn):
    (job,) = _waiting(conn, 1)
    conn.execute("select public.pause_match_jobs('UIT')")
    assert one(conn, "select public.cancel_match_jobs(%s)", [job]) == 1
    conn.execute("select public.resume_match_jobs('UIT')")

    assert one(conn, "select public.retry_failed_match_jobs(%s)", [job]) == 1
    assert _claimed(conn) == {job}


def test_requeued_job_searches_with_the_threshold_it_is_given(conn):
    (_, her_face), _ = build.a_pair(conn, similarity=0.45)
    first = a_job(conn, her_face)
    found = [complete(conn, *claim(conn))]
    for threshold in (0.4, 0.6):
        new = one(conn, "select public.requeue_match_job(%s, %s, 'linh')", first, threshold)
        details = {"job": str(first), "threshold": threshold, "new_job": str(new)}
        assert _last_act(conn) == ("linh", "requeue", details)
        found.append(complete(conn, *claim(conn)))

    assert found == [0, 1, 0]
    assert one(conn, "select count(*) from public.matches") == 1


def test_requeue_of_a_pending_photo_sets_the_threshold_of_its_job(conn):
    (job,) = _waiting(conn, 1)

    assert one(conn, "select public.requeue_match_job(%s, 0.4)", job) == job
    assert _row(conn, job)["threshold"] == 0.4


def test_requeue_is_refused_where_it_cannot_search(conn):
    person = a_profile(conn)
    (job,) = _waiting(conn, 1, person=person)
    for arguments, code in [
        ((uuid4(), None), "not_found"),
        ((job, 0.0), "input_invalid"),
        ((job, 1.0), "input_invalid"),
        ((job, float("nan")), "input_invalid"),
    ]:
        with refused(code), conn.transaction():
            conn.execute("select public.requeue_match_job(%s, %s)", arguments)
    conn.execute("update public.profiles set school = null where id = %s", [person])
    with refused("profile_incomplete"):
        conn.execute("select public.requeue_match_job(%s)", [job])


def test_prioritized_job_overtakes_those_before_it(conn):
    person = a_profile(conn)
    a_face(conn, person)
    *others, last = _waiting(conn, 10, person=person)
    first_photo = _waiting(conn, 1)[0]
    count = one(
        conn, "select public.prioritize_match_jobs(%s, 1::smallint, 'linh')", [last, first_photo]
    )
    actor, action, details = _last_act(conn)
    order = [job for _ in range(11) for job, _ in claim_some(conn, 1)]

    # The other one has that priority already.
    assert (actor, action) == ("linh", "prioritize")
    assert (count, details["priority"], details["count"]) == (1, 1, 1)
    assert set(order[:2]) == {first_photo, last}
    assert order[2:] == others


def test_job_with_a_lower_priority_is_claimed_last(conn):
    first, *others = _waiting(conn, 4)
    conn.execute("select public.prioritize_match_jobs(%s, 3::smallint)", [[first]])

    order = [job for _ in range(4) for job, _ in claim_some(conn, 1)]

    assert order == [*others, first]


def test_priority_of_a_scheduled_job_applies_when_it_is_due(conn):
    (job,) = _waiting(conn, 1)
    conn.execute("select public.pause_match_jobs('UIT')")
    assert one(conn, "select public.prioritize_match_jobs(%s, 3::smallint)", [job]) == 1

    assert _claimed(conn) == set()
    conn.execute("select public.resume_match_jobs('UIT')")
    assert _claimed(conn) == {job}


def test_unknown_priority_is_refused(conn):
    with refused("input_invalid"):
        conn.execute("select public.prioritize_match_jobs('{}', 4::smallint)")


def test_overview_counts_open_jobs(conn):
    _failed(conn)
    _waiting(conn, 2, school="UIT")
    _waiting(conn, 3, school="HUST")
    conn.execute("select public.pause_match_jobs('HUST')")
    claim(conn, lease_s=-1)
    row = conn.execute(
        "select paused, concurrency, paused_schools, waiting, scheduled, processing,"
        " expired_leases, workers from public.get_match_queue()"
    ).fetchone()
    oldest = one(conn, "select oldest_waiting_s from public.get_match_queue()")

    assert row == (False, None, ["HUST"], 1, 3, 1, 1, 1)
    assert oldest >= 0


def test_jobs_are_listed_by_status_school_code_person_and_id(conn):
    failed = _failed(conn, "no_face")
    uit = _waiting(conn, 2, school="UIT")
    (hust,) = _waiting(conn, 1, school="HUST")

    def listed(**by: Any) -> list[UUID]:
        given = ", ".join(f"p_{name} => %s" for name in by)
        rows = conn.execute(f"select id from public.list_match_jobs({given})", list(by.values()))
        return [job for (job,) in rows]

    assert set(listed()) == {*uit, hust, failed}
    assert listed(status="failed") == listed(code="no_face") == [failed]
    assert listed(school="HUST") == [hust]
    assert listed(job_ids=[uit[1]]) == uit[1:]
    assert listed(user_id=_row(conn, hust)["user_id"]) == [hust]
    conn.execute("update public.match_jobs set created_at = '2026-01-01' where id = %s", [hust])
    assert listed(before="2026-01-02") == [hust]
    assert len(listed(limit=1)) == len(listed(limit=-5)) == 1


def test_default_actor_is_the_login(conn):
    conn.execute("select public.set_match_concurrency(3, '  ')")
    blank = _last_act(conn)[0]
    conn.execute("select public.set_match_concurrency(3, %s)", ["x" * 500])

    assert blank == "postgres"
    assert _last_act(conn)[0] == "x" * 200


def test_audit_log_is_read_newest_first_and_changed_by_nobody(conn):
    for jobs in (1, 2, 3):
        conn.execute("select public.set_match_concurrency(%s, 'linh')", [jobs])
    rows = conn.execute("select details from public.list_audit_log(2)").fetchall()

    assert [details["jobs"] for (details,) in rows] == [3, 2]
    for change in ("update automatch.audit_log set actor = 'x'", "delete from automatch.audit_log"):
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            acting(conn, role="service_role"),
        ):
            conn.execute(change)
