""" "Why no match?": counts that help, of the caller's own school, and of nobody in particular."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.support import build
from tests.support.build import acting, like, one

CENTER = build.unit(0)
COLUMNS = ("school", "other_gender", "findable", "hidden", "threshold", "over_threshold")


def explained(conn, person, job):
    with acting(conn, person):
        row = conn.execute(
            f"select {', '.join(COLUMNS)} from public.explain_match_job(%s)", [job]
        ).fetchone()
    return dict(zip(COLUMNS, row, strict=True)) if row else None


def asked(conn, threshold=None):
    """Write a woman with a finished job; return her and the job."""
    she = build.a_profile(conn)
    face = build.a_face(conn, she, CENTER)
    job = one(conn, "select public.enqueue_match_job(%s, null, %s)", face, threshold)
    build.complete(conn, *build.claim(conn))
    return she, job


def men(conn, count, similarity=0.3, **values):
    found = []
    for seed in range(count):
        he = build.a_profile(conn, gender="male", **values)
        build.a_face(conn, he, like(CENTER, similarity, seed=seed))
        found.append(he)
    return found


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, 0), (9, 0), (10, 10), (19, 10), (99, 90), (100, 100), (119, 110), (12_345, 12_000)],
)
def test_counts_are_rounded_down_and_fewer_than_10_is_0(conn, count, told):
    assert one(conn, "select automatch.roughly(%s)", count) == told


def test_counts_are_of_the_school_the_other_gender_and_who_can_be_found(conn):
    men(conn, 14)
    men(conn, 12, discoverable=False)
    for _ in range(10):
        build.a_profile(conn, gender="male", consent=False)
    for _ in range(20):
        build.a_profile(conn)
    men(conn, 30, school="HCMUS")
    she, job = asked(conn)

    assert explained(conn, she, job) == {
        "school": 57 // 10 * 10,
        "other_gender": 30,
        "findable": 10,
        "hidden": 0,
        "threshold": 0.5,
        "over_threshold": 0,
    }


def test_over_the_threshold_is_counted_with_that_of_the_job(conn):
    men(conn, 12, 0.45)
    she, job = asked(conn, threshold=0.4)
    why = explained(conn, she, job)
    assert (why["threshold"], why["over_threshold"]) == (0.4, 10)

    other, her_job = asked(conn)
    why = explained(conn, other, her_job)
    assert (why["threshold"], why["over_threshold"]) == (0.5, 0)


def test_who_hid_from_the_caller_counts_as_not_to_be_found_and_nowhere_else(conn):
    """Ten men could be found; one of them blocks her, another pauses: it looks the same."""
    he, other = men(conn, 10, 0.8)[:2]
    she, job = asked(conn)
    before = explained(conn, she, job)
    assert (before["findable"], before["over_threshold"], before["hidden"]) == (10, 10, 0)
    conn.execute("insert into public.profile_blocks values (%s, %s)", [he, she])
    blocked = explained(conn, she, job)
    conn.execute("delete from public.profile_blocks")
    conn.execute("update public.profiles set discoverable = false where id = %s", [other])
    paused = explained(conn, she, job)

    assert blocked == paused == before | {"findable": 0, "over_threshold": 0}


def test_hidden_are_those_whom_the_caller_hid_each_once(conn):
    first, second, _ = men(conn, 3, 0.8)
    she, job = asked(conn)
    for statement in (
        "insert into public.profile_blocks values (%(she)s, %(first)s)",
        "insert into public.match_dismissals values (%(she)s, %(first)s)",
        "insert into public.match_dismissals values (%(she)s, %(second)s)",
        "insert into public.match_dismissals values (%(second)s, %(she)s)",
    ):
        conn.execute(statement, {"she": she, "first": first, "second": second})
    assert explained(conn, she, job)["hidden"] == 2

    # What became of them meanwhile does not show.
    conn.execute("update public.profiles set discoverable = false where id = %s", [first])
    assert explained(conn, she, job)["hidden"] == 2


def test_nothing_is_told_of_the_job_of_another_or_of_none(conn):
    she, job = asked(conn)
    other = build.a_profile(conn)

    assert explained(conn, other, job) is None
    assert explained(conn, she, uuid4()) is None
    assert explained(conn, she, build.a_job(conn, build.a_face(conn, she))) is None
