"""How often people change school and gender, and what a change waits for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support import build
from tests.support.build import acting, one, refused

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def conn(conn):
    """Give a database with three open schools and one that asks for a proof."""
    conn.execute("alter table public.profiles disable trigger a_school_is_open")
    for name in ("A", "B", "C"):
        conn.execute("select public.add_school(%s, p_open => true)", [name])
    conn.execute("select public.add_school('Closed')")
    build.set_clock(conn, NOON)
    return conn


def save(conn, person, school="A", gender="female"):
    with acting(conn, person):
        conn.execute("select public.save_profile('P', %s, %s, '2000-01-01')", [school, gender])


def who_was_searched_for(conn, school="A"):
    person = build.a_profile(conn, school=school)
    build.a_face(conn, person, build.unit(1))
    return person


def admitted(conn, person):
    return one(conn, "select admitted from public.profiles where id = %s", person)


def later(conn, wait):
    build.set_clock(conn, NOON + wait)
    conn.execute("select public.settle_changes()")


def test_before_the_first_photo_nothing_counts(conn):
    person = build.a_profile(conn, school="A")
    for school, gender in (("B", "male"), ("C", "female"), ("A", "male"), ("B", "female")):
        save(conn, person, school, gender)
        assert admitted(conn, person)


def test_third_change_within_a_year_is_refused_with_the_day_of_the_next(conn):
    person = who_was_searched_for(conn)
    save(conn, person, "B")
    later(conn, 100 * DAY)
    save(conn, person, "B", "male")
    later(conn, 364 * DAY)
    with pytest.raises(Exception, match="after 23 November 2027"), conn.transaction():
        save(conn, person, "C", "male")
    with refused("changes_used"), conn.transaction():
        save(conn, person, "A", "female")

    save(conn, person, "b", "male")
    later(conn, 365 * DAY)
    save(conn, person, "C", "male")


def erase_photos(conn, person):
    conn.execute("delete from public.faces where profile_id = %s", [person])


def withdraw_consent(conn, person):
    build.record_consent(conn, person, "withdrawn")


def leave_school(conn, person):
    with acting(conn, person):
        conn.execute("select public.leave_school()")


@pytest.mark.parametrize("forget", [erase_photos, withdraw_consent, leave_school])
def test_count_outlives_what_a_person_can_delete(conn, forget):
    person = who_was_searched_for(conn)
    for school in ("B", "C"):
        save(conn, person, school)
        forget(conn, person)
    with refused("changes_used"):
        save(conn, person, "A")


def test_coming_back_to_the_same_school_is_no_change(conn):
    person = who_was_searched_for(conn)
    for _ in range(5):
        leave_school(conn, person)
        save(conn, person, "A")
    save(conn, person, "B")


@pytest.mark.parametrize("change", [("B", "female"), ("A", "male")])
def test_change_without_a_proof_searches_for_nobody_before_it_has_settled(conn, change):
    person = who_was_searched_for(conn)
    conn.execute("delete from public.match_jobs")
    save(conn, person, *change)
    later(conn, DAY - timedelta(seconds=1))
    jobs = "select count(*) from public.match_jobs"
    assert (admitted(conn, person), one(conn, jobs)) == (False, 0)
    assert one(conn, "select count(*) from public.face_index") == 0

    later(conn, DAY)
    assert (admitted(conn, person), one(conn, jobs)) == (True, 1)
    assert conn.execute("select school, gender from public.face_index").fetchall() == [change]


def test_proof_settles_a_change_to_a_closed_school(conn):
    person = who_was_searched_for(conn)
    save(conn, person, "Closed")
    later(conn, 9 * DAY)
    assert not admitted(conn, person)
    conn.execute("select public.invite_to_school('Closed', 'CODE', 1, '1 day')")
    with acting(conn, person):
        conn.execute("select public.join_school('CODE')")

    assert admitted(conn, person)


def test_proof_of_the_school_settles_no_change_of_gender(conn):
    person = build.a_profile(conn, school="Closed")
    conn.execute("select public.change_person(%s, 'Closed')", [person])
    build.a_face(conn, person, build.unit(1))
    save(conn, person, "Closed", "male")
    assert not admitted(conn, person)

    later(conn, DAY)
    assert admitted(conn, person)


def test_operator_changes_it_without_counting_or_waiting(conn):
    person = who_was_searched_for(conn)
    save(conn, person, "B", "male")
    for school, gender in (("C", None), (None, "female"), ("Closed", "male"), ("Closed", None)):
        conn.execute("select public.change_person(%s, %s, %s, 'me')", [person, school, gender])
        assert admitted(conn, person)
    shown = conn.execute("select school, gender from public.face_index").fetchall()
    assert shown == [("Closed", "male")]
    acts = "select count(*) from automatch.audit_log where action = 'change_person'"
    assert one(conn, acts) == 4

    # What the operator set is what the next change is counted from.
    save(conn, person, "closed", "male")
    save(conn, person, "A", "male")
    with refused("changes_used"):
        save(conn, person, "B", "male")


def test_settings_of_the_server_are_the_bounds(conn):
    person = who_was_searched_for(conn)
    conn.execute(
        "select set_config('automatch.changes_a_year', '1', true),"
        " set_config('automatch.settling_hours', '0', true)"
    )
    save(conn, person, "B")
    assert admitted(conn, person)
    with refused("changes_used"):
        save(conn, person, "C")


def test_school_that_was_merged_or_removed_takes_no_change_away(conn):
    person = who_was_searched_for(conn)
    while one(conn, "select public.merge_schools('A', 'B')"):
        pass
    save(conn, person, "A")
    assert one(conn, "select count(*) from automatch.profile_choices where counted") == 0

    leave_school(conn, person)
    conn.execute("select public.remove_school('B')")
    save(conn, person, "C")
    assert one(conn, "select count(*) from automatch.profile_choices where counted") == 0


def test_photo_of_a_stranger_finds_her_in_at_most_three_schools_a_year(conn):
    """One account, eight changes of its school: nine schools would have been searched."""
    schools = [f"School {n}" for n in range(9)]
    for name in schools:
        conn.execute("select public.add_school(%s, p_open => true)", [name])
        she = build.a_profile(conn, school=name)
        build.a_face(conn, she, build.unit(1))
    thief = build.a_profile(conn, school=schools[0], gender="male")
    build.a_face(conn, thief, build.unit(1))
    conn.execute("delete from public.match_jobs")
    build.a_match(conn, one(conn, "select id from public.faces where profile_id = %s", thief))
    refusals = 0
    for day, school in enumerate(schools[1:], 2):
        try:
            with conn.transaction():
                save(conn, thief, school, "male")
        except psycopg.errors.DatabaseError:
            refusals += 1
        later(conn, day * 2 * DAY)
        for job, token in build.claim_some(conn, 9):
            build.complete(conn, job, token)

    assert refusals == 6
    assert one(conn, "select count(*) from public.matches") == 3
