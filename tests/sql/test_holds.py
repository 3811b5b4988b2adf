"""Photos that wait for a decision: not found, not searched for, and back when they are released."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.support import build
from tests.support.build import acting, one


def feed(conn, person):
    with acting(conn, person):
        return [row[0] for row in conn.execute("select profile_id from public.feed_page()")]


def matched(conn):
    she, he = (build.a_profile(conn, gender=g) for g in ("female", "male"))
    hers, his = (build.a_face(conn, person, build.unit(0)) for person in (she, he))
    assert build.a_match(conn, hers) == 1
    return she, he, hers, his


def hold(conn, face):
    conn.execute("select automatch.hold_face(%s, 'hidden')", [face])


def test_holding_a_photo_takes_its_card_from_both_feeds_and_the_search_copy(conn):
    she, he, hers, _ = matched(conn)

    hold(conn, hers)

    assert (feed(conn, she), feed(conn, he)) == ([], [])
    assert one(conn, "select count(*) from public.face_index where face_id = %s", hers) == 0


def test_a_held_photo_is_searched_for_by_nobody_and_finds_nobody(conn):
    _, _, hers, his = matched(conn)
    hold(conn, hers)

    for face in (hers, his):
        assert build.a_match(conn, face) == 0


def test_a_photo_that_is_held_between_search_and_completion_gets_no_match(conn):
    she, he = (build.a_profile(conn, gender=g) for g in ("female", "male"))
    hers, his = (build.a_face(conn, person, build.unit(0)) for person in (she, he))
    build.a_job(conn, his)
    job, token = build.claim(conn)
    conn.execute(
        "create temporary table found as select automatch.search_for_jobs(%s, %s) as f",
        [[job], [token]],
    )
    hold(conn, hers)

    count = one(
        conn,
        "select c.match_count from found, automatch.complete_jobs(%s, %s, f, automatch.now()) as c",
        [job],
        [token],
    )

    assert count == 0
    assert one(conn, "select count(*) from public.matches") == 0


def test_releasing_a_photo_searches_for_it_again(conn):
    she, he, hers, _ = matched(conn)
    hold(conn, hers)

    assert one(conn, "select automatch.release_face(%s)", hers)
    assert build.complete(conn, *build.claim(conn)) == 1
    assert (feed(conn, she), feed(conn, he)) == ([he], [she])
    assert not one(conn, "select automatch.release_face(%s)", hers)


def test_holding_a_photo_that_does_not_exist_is_an_error(conn):
    with build.refused("not_found"):
        hold(conn, uuid4())


def test_a_photo_is_held_for_no_reason_that_nothing_knows(conn):
    face = build.a_face(conn, build.a_profile(conn))

    with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
        conn.execute("select automatch.hold_face(%s, 'another_reason')", [face])
