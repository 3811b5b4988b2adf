"""Whose turn it is: nobody waits for another's backlog, and nobody waits for ever."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from tests.support import build
from tests.support.backlog import bulk_inserts, enqueue_people
from tests.support.build import claim_some, one

MANY = 4_000
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def conn(database):
    with bulk_inserts(database) as conn:
        yield conn


def in_order(conn, limit):
    """Return the next jobs in the order in which they are claimed."""
    return [job for job, _ in claim_some(conn, limit)]


def schools_of(conn, jobs):
    rows = conn.execute("select id, school from public.match_jobs where id = any (%s)", [jobs])
    school = dict(rows.fetchall())
    return [school[job] for job in jobs]


def test_school_with_thousands_of_jobs_does_not_delay_a_single_job_of_another(conn):
    enqueue_people(conn, "whale", MANY)
    # In the midst of it, as it would be.
    for _ in range(3):
        claim_some(conn, 100)
    (late,) = enqueue_people(conn, "minnow")

    assert in_order(conn, 100).index(late) <= 2


def test_person_with_thousands_of_jobs_does_not_delay_a_single_job_of_another(conn):
    enqueue_people(conn, "UIT", photos=MANY)
    for _ in range(3):
        claim_some(conn, 100)
    (mate,) = enqueue_people(conn, "UIT")
    (stranger,) = enqueue_people(conn, "HCMUS")
    order = in_order(conn, 100)

    assert order.index(mate) <= 4
    assert order.index(stranger) <= 4


def test_second_photo_of_a_person_comes_after_the_first_of_everybody_of_the_school(conn):
    before = enqueue_people(conn, "UIT", people=20)
    first, second, *_ = enqueue_people(conn, "UIT", photos=50)
    after = enqueue_people(conn, "UIT", people=15)
    order = in_order(conn, 40)

    assert order[:37] == [*before, first, *after, second]


def test_schools_are_served_in_turns_whatever_each_has_waiting(conn):
    for school, people, photos in (("A", 2_000, 1), ("B", 300, 1), ("C", 1, 500), ("D", 40, 5)):
        enqueue_people(conn, school, people, photos=photos)
    (late,) = enqueue_people(conn, "E")
    order = in_order(conn, 120)
    share = Counter(schools_of(conn, order))

    assert order.index(late) <= 4
    assert all(25 <= share[school] <= 35 for school in "ABCD")


def test_first_photos_weigh_four_times_as_much_as_others(conn):
    enqueue_people(conn, "others", 500, priority=2)
    enqueue_people(conn, "first", 500, priority=1)
    share = Counter(schools_of(conn, in_order(conn, 100)))

    assert 75 <= share["first"] <= 85


def test_work_that_nobody_waits_for_is_done_at_a_sixteenth_of_the_pace(conn):
    enqueue_people(conn, "background", 500, priority=3)
    enqueue_people(conn, "people", 500, priority=2)
    share = Counter(schools_of(conn, in_order(conn, 170)))

    assert 8 <= share["background"] <= 12


def test_work_that_nobody_waits_for_is_done_even_if_first_photos_never_end(conn):
    (background,) = enqueue_people(conn, "background", priority=3)
    claims = []
    for _ in range(200):
        # More comes in than is worked off.
        enqueue_people(conn, "A", 2, priority=1)
        enqueue_people(conn, "B", 2, priority=1)
        claims += in_order(conn, 2)
        if background in claims:
            break

    assert background in claims


def test_only_photo_of_a_person_is_a_first_one_and_no_other(conn):
    conn.execute("set session_replication_role = origin")
    person = build.a_profile(conn)
    jobs = [build.a_job(conn, build.a_face(conn, person)) for _ in range(2)]
    query = "select priority from public.match_jobs where id = %s"

    assert [one(conn, query, job) for job in jobs] == [1, 2]


def test_retry_goes_to_the_tail_and_a_job_that_is_given_back_keeps_its_place(conn):
    first, second, *rest = enqueue_people(conn, "UIT", 6)
    claimed = dict(claim_some(conn, 2))
    conn.execute(
        "select status from public.retry_match_jobs(array[%s]::uuid[],"
        " array[%s]::bigint[], array['job_crashed'], array['It broke.'], 0, 0)",
        [first, claimed[first]],
    )
    conn.execute("select public.release_match_jobs(%s, %s)", [[second], [claimed[second]]])

    assert in_order(conn, 10) == [second, *rest, first]


def test_no_job_of_a_paused_school_is_claimed_and_the_others_go_on(conn):
    enqueue_people(conn, "paused", 5)
    others = enqueue_people(conn, "UIT", 3)
    conn.execute("select public.pause_match_jobs('paused')")
    enqueue_people(conn, "paused", 5)

    assert in_order(conn, 20) == others


def test_school_that_goes_on_comes_in_its_old_order_and_before_nobody_else(conn):
    waiting = enqueue_people(conn, "paused", 50)
    conn.execute("select public.pause_match_jobs('paused')")
    enqueue_people(conn, "UIT", 50)
    claim_some(conn, 10)
    conn.execute("select public.resume_match_jobs('paused')")
    order = in_order(conn, 40)

    assert Counter(schools_of(conn, order)) == {"paused": 20, "UIT": 20}
    assert [job for job in order if job in waiting] == waiting[:20]


def test_job_given_back_by_a_worker_while_its_school_is_paused_waits_for_the_end_of_it(conn):
    (job,) = enqueue_people(conn, "UIT")
    ((_, token),) = claim_some(conn, 1)
    conn.execute("select public.pause_match_jobs('UIT')")
    conn.execute("select public.release_match_jobs(%s, %s)", [[job], [token]])

    assert in_order(conn, 5) == []
    assert one(conn, "select public.resume_match_jobs('UIT')") == 1
    assert in_order(conn, 5) == [job]


def test_retry_of_somebody_does_not_wait_for_all_of_a_school_that_goes_on(conn):
    enqueue_people(conn, "whale", 1_000)
    conn.execute("select public.pause_match_jobs('whale')")
    conn.execute("select public.resume_match_jobs('whale')")
    (mine,) = enqueue_people(conn, "UIT")
    ((job, token),) = [row for row in claim_some(conn, 2) if row[0] == mine]
    conn.execute(
        "select status from public.retry_match_jobs(array[%s]::uuid[],"
        " array[%s]::bigint[], array['job_crashed'], array['It broke.'], 0, 0)",
        [job, token],
    )
    # By a worker whose photos take long, so that it claims a few at a time.
    claims = [in_order(conn, 2) for _ in range(14)]

    assert any(mine in claim for claim in claims)


def test_deferred_job_gets_its_turn_when_it_is_due_and_not_before(conn):
    build.set_clock(conn, NOW)
    (job,) = enqueue_people(conn, "UIT")
    ((_, token),) = claim_some(conn, 1)
    conn.execute(
        "select public.release_match_jobs(%s, %s, '5 s')",
        [[job], [token]],
    )
    assert one(conn, "select public.seconds_to_next_match_job()") == 5

    build.set_clock(conn, NOW + timedelta(seconds=4.9))
    assert in_order(conn, 5) == []

    build.set_clock(conn, NOW + timedelta(seconds=5))
    assert in_order(conn, 5) == [job]


def test_job_that_a_worker_was_lost_with_is_claimed_alone(conn):
    build.set_clock(conn, NOW)
    jobs = enqueue_people(conn, "UIT", 5)
    claim_some(conn, 2)
    build.set_clock(conn, NOW + timedelta(seconds=31))
    conn.execute("select public.sweep_match_jobs()")
    sizes = [len(claim_some(conn, 10)) for _ in range(4)]

    assert sorted(sizes) == [0, 1, 1, 3]
    assert one(conn, "select count(*) from public.match_jobs where isolated") == 2
    assert len(jobs) == 5


def test_line_of_a_school_begins_anew_when_nobody_of_it_waits(conn):
    enqueue_people(conn, "UIT", 300)
    claim_some(conn, 300)
    uit = enqueue_people(conn, "UIT", 2)
    hcmus = enqueue_people(conn, "HCMUS", 2)

    assert Counter(in_order(conn, 2)) == Counter([uit[0], hcmus[0]])


def test_photo_that_is_queued_again_keeps_its_job_and_its_turn(conn):
    conn.execute("set session_replication_role = origin")
    face = build.a_face(conn, build.a_profile(conn))
    job = build.a_job(conn, face)
    row = "select to_jsonb(j) from public.match_jobs as j"
    before = one(conn, row)

    assert build.a_job(conn, face) == job
    assert one(conn, row) == before
