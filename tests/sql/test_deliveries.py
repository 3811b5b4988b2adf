"""When matches reached the open pages of their people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.support import build
from tests.support.build import one

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=2)
LONG = 3600.0


@pytest.fixture
def matched(conn):
    """Give her, him and the job of hers that found him at noon; it is two seconds later now."""
    (she, her_face), (he, _) = build.a_pair(conn)
    build.set_clock(conn, NOON)
    build.a_match(conn, her_face)
    build.set_clock(conn, LATER)
    return she, he, one(conn, "select id from public.match_jobs where face_id = %s", her_face)


def shown(conn):
    return one(conn, "select id from public.matches")


def record(conn, *deliveries):
    """Record (person, match, seconds since it was written, seconds since the page opened)."""
    conn.execute(
        "select public.record_deliveries(%s::uuid[], %s::uuid[], %s::float8[], %s::float8[])",
        [list(column) for column in zip(*deliveries, strict=True)],
    )


def job_of(conn, job):
    return conn.execute(
        "select timings -> 'delivered_ms', timings -> 'others_delivered_ms', reached, seen_later"
        " from public.list_match_jobs(p_job_ids => array[%s]::uuid[])",
        [job],
    ).fetchone()


def test_job_tells_when_each_side_was_reached_from_the_upload_on(conn, matched):
    she, he, job = matched
    assert job_of(conn, job) == (None, None, 0, 0)
    record(conn, (she, shown(conn), 1.5, LONG), (he, shown(conn), 0.5, LONG))

    assert job_of(conn, job) == (500, 1500, 2, 0)


def test_page_that_opened_after_the_match_has_no_time_and_is_counted_apart(conn, matched):
    she, he, job = matched
    record(conn, (she, shown(conn), 1.5, LONG), (he, shown(conn), 0.1, 1.9))

    assert job_of(conn, job) == (500, None, 1, 1)


def test_earliest_page_of_a_person_counts_whichever_server_tells_first(conn, matched):
    she, _, job = matched
    record(conn, (she, shown(conn), 1.0, LONG))
    record(conn, (she, shown(conn), 1.6, LONG))
    record(conn, (she, shown(conn), 0.2, LONG), (she, shown(conn), 0.1, 0.5))

    assert job_of(conn, job) == (400, None, 1, 0)


def test_two_jobs_of_a_batch_that_found_each_other_were_both_delivered(conn):
    (she, her_face), (_, his_face) = build.a_pair(conn)
    build.set_clock(conn, NOON)
    jobs = [build.a_job(conn, face) for face in (her_face, his_face)]
    ids, tokens = zip(*build.claim_some(conn, 2), strict=True)
    conn.execute("select public.complete_match_jobs(%s, %s)", [list(ids), list(tokens)])
    build.set_clock(conn, LATER)
    record(conn, (she, shown(conn), 1.5, LONG))

    assert job_of(conn, jobs[0]) == (500, None, 1, 0)
    assert job_of(conn, jobs[1]) == (None, 500, 1, 0)


def test_jobs_that_did_not_make_the_match_are_not_delivered(conn, matched):
    she, _, _ = matched
    face = one(conn, "select face_id from public.match_jobs where user_id = %s", she)
    build.a_match(conn, face)
    again = one(conn, "select id from public.match_jobs order by created_at desc limit 1")
    record(conn, (she, shown(conn), 1.5, LONG))

    assert job_of(conn, again) == (None, None, 0, 0)


def test_people_and_matches_that_are_gone_or_not_theirs_are_left_out(conn, matched):
    she, _, job = matched
    stranger = build.a_profile(conn)
    record(
        conn,
        (uuid4(), shown(conn), 1.0, LONG),
        (she, uuid4(), 1.0, LONG),
        (stranger, shown(conn), 1.0, LONG),
    )

    assert job_of(conn, job) == (None, None, 0, 0)


def test_nothing_of_a_delivery_is_news_for_an_open_page(conn, matched):
    she, he, _ = matched

    def versions():
        return conn.execute("select * from public.feed_versions(%s)", [[she, he]]).fetchall()

    before = versions(), one(conn, "select timings from public.match_jobs")
    record(conn, (she, shown(conn), 1.5, LONG), (he, shown(conn), 0.5, LONG))

    assert (versions(), one(conn, "select timings from public.match_jobs")) == before
