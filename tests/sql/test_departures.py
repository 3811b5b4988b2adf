"""Erasing one's own account and coming back with the same address gives nothing again."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from tests.support import build
from tests.support.build import acting, one, refused

HASH = b"hash"
DAY = timedelta(days=1)


def leave(conn, person, address_hash=HASH, act="person"):
    conn.execute("select set_config('automatch.address_hash', %s, true)", [address_hash.hex()])
    conn.execute("select public.erase_person(%s, %s)", [person, act])


def come_back(conn, address_hash=HASH, **fields):
    person = build.a_profile(conn, **fields)
    conn.execute("select public.inherit_departure(%s, %s)", [person, address_hash])
    return person


def count_search(conn, person, ago=timedelta(0)):
    conn.execute(
        "insert into automatch.photo_searches values (%s, %s, automatch.now() - %s)",
        [uuid4(), person, ago],
    )


def search_wait(conn, person, most):
    with acting(conn, person):
        return one(conn, "select public.get_search_wait(%s)", most)


def ban(conn):
    return one(conn, "select public.find_ban(%s)", HASH)


def test_searches_of_the_day_count_for_the_new_account_however_often_one_leaves(conn):
    person = build.a_profile(conn)
    count_search(conn, person)
    count_search(conn, person, ago=2 * DAY)
    for _ in range(2):
        leave(conn, person)
        person = come_back(conn)
        assert one(conn, "select count(*) from automatch.photo_searches") == 1
        assert search_wait(conn, person, 0) > 0
    assert search_wait(conn, come_back(conn, b"another"), 0) == 0


@pytest.mark.parametrize("gender", ["female", "male"])
def test_another_gender_than_before_is_a_change_and_the_same_is_none(conn, gender):
    person = build.a_profile(conn, gender="female")
    build.a_face(conn, person, build.unit(1))
    leave(conn, person)
    person = come_back(conn, gender=gender)
    with acting(conn, person):
        conn.execute("select public.save_profile('P', 'UIT', %s, '2000-01-01')", [gender])

    changed = one(conn, "select count(*) from automatch.profile_choices where counted")
    assert changed == (gender == "male")


def test_changes_of_the_year_are_not_given_again(conn):
    person = build.a_profile(conn, gender="female")
    build.a_face(conn, person, build.unit(1))
    for gender in ("male", "female"):
        with acting(conn, person):
            conn.execute("select public.save_profile('P', 'UIT', %s, '2000-01-01')", [gender])
    leave(conn, person)

    person = come_back(conn)
    with refused("changes_used"), acting(conn, person):
        conn.execute("select public.save_profile('P', 'UIT', 'male', '2000-01-01')")


def a_case(conn, person, hides):
    return one(
        conn,
        "insert into automatch.cases (kind, reason, profile_id, hides)"
        " values ('report', 'not_their_photo', %s, %s) returning id",
        *(person, hides),
    )


def test_who_was_hidden_by_an_open_report_is_refused_until_it_is_lifted(conn):
    person = build.a_profile(conn)
    case = a_case(conn, person, hides=True)
    leave(conn, person)

    assert ban(conn) == case
    assert one(conn, "select public.lift_ban(%s)", case)
    assert ban(conn) is None


def test_who_was_frozen_is_refused_for_ninety_days(conn):
    person = build.a_profile(conn)
    conn.execute("select public.freeze_person(%s, 'moderation')", [person])
    leave(conn, person)

    assert ban(conn) is not None
    build.set_clock(conn, one(conn, "select automatch.now()") + 91 * DAY)
    assert ban(conn) is None


def test_ban_by_an_operator_has_no_end_also_after_one_by_itself(conn):
    person, other = build.a_profile(conn), build.a_profile(conn)
    conn.execute("select public.freeze_person(%s, 'moderation')", [person])
    leave(conn, person)
    conn.execute("select public.ban_address('cli:mai', %s, %s)", [a_case(conn, other, False), HASH])

    leave(conn, other)
    assert one(conn, "select ends_at is null from automatch.bans")


@pytest.mark.parametrize("why", ["a report that hides nothing", "an operator's act"])
def test_nobody_else_is_refused(conn, why):
    person = build.a_profile(conn)
    is_own = why == "a report that hides nothing"
    a_case(conn, person, hides=not is_own)
    leave(conn, person, act="person" if is_own else "operator")

    assert ban(conn) is None
    assert one(conn, "select count(*) from automatch.departures") == is_own
