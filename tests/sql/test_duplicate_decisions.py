"""What is decided of two accounts that look like one person, and what matches then."""

from __future__ import annotations

import pytest

from tests.support import build
from tests.support.build import acting, one, refused
from tests.support.duplicates import FAR, a_person, apart, look, pairs


def pair_id(conn):
    return one(conn, "select id from automatch.suspected_duplicates")


def decide(conn, state, pair=None, actor="cli:linh"):
    conn.execute(
        "select public.decide_suspected_duplicate(%s, %s, %s)",
        [pair or pair_id(conn), state, actor],
    )


def let_match(conn, match):
    conn.execute("select public.set_match_same_person(%s, 'cli:linh')", [match])


def feed_of(conn, person):
    with acting(conn, person):
        rows = conn.execute("select profile_id from public.feed_page()").fetchall()
    return {other for (other,) in rows}


def position(conn, person):
    with acting(conn, person):
        return one(conn, "select public.feed_position()")


def news_of(conn, person, after):
    """Return (other person, whether their card stays) for all that happened in a feed."""
    with acting(conn, person):
        return conn.execute(
            "select profile_id, match_id is not null from public.feed_page(null, %s)", [after]
        ).fetchall()


def test_two_accounts_of_one_person_match_unless_told_otherwise(conn):
    center = build.unit(0)
    she, he = a_person(conn, center), a_person(conn, center, "male")
    face = one(conn, "select id from public.faces where profile_id = %s", he)
    assert build.a_match(conn, face) == 1
    look(conn)

    assert set(pairs(conn)) == {frozenset((she, he))}
    assert feed_of(conn, she) == {he}


def test_where_they_do_not_match_a_search_leaves_them_out_before_anybody_looked(conn):
    let_match(conn, False)
    center = build.unit(0)
    a_person(conn, center)
    similar = a_person(conn, apart(center, FAR + 0.003))
    he = a_person(conn, center, "male")
    face = one(conn, "select id from public.faces where profile_id = %s", he)
    assert build.a_match(conn, face) == 1

    assert feed_of(conn, he) == {similar}


def test_setting_moves_the_cards_of_both_feeds_at_once_and_back(conn):
    center = build.unit(0)
    she, he = a_person(conn, center), a_person(conn, center, "male")
    build.a_match(conn, one(conn, "select id from public.faces where profile_id = %s", he))
    look(conn)
    news = []
    for match in (False, True):
        before = position(conn, she)
        let_match(conn, match)
        news.append(news_of(conn, she, before))
        assert feed_of(conn, he) == ({she} if match else set())

    assert news == [[(he, False)], [(he, True)]]


def test_pair_that_is_found_later_leaves_the_feeds_where_they_do_not_match(conn):
    center = build.unit(0)
    she, he = a_person(conn, center), a_person(conn, center, "male")
    build.a_match(conn, one(conn, "select id from public.faces where profile_id = %s", he))
    let_match(conn, False)
    assert feed_of(conn, she) == {he}
    before = position(conn, she)
    look(conn)

    # Open pages are told, too.
    assert news_of(conn, she, before) == [(he, False)]
    assert feed_of(conn, she) == feed_of(conn, he) == set()


def test_pair_that_an_operator_dismissed_matches_whatever_the_setting(conn):
    let_match(conn, False)
    center = build.unit(0)
    she, he = a_person(conn, center), a_person(conn, center, "male")
    look(conn)
    face = one(conn, "select id from public.faces where profile_id = %s", he)
    assert build.a_match(conn, face) == 0
    decide(conn, "dismissed")
    # They are searched for again, because a search had left them out.
    job, token = build.claim(conn)
    assert build.complete(conn, job, token) == 1
    assert feed_of(conn, she) == {he}
    decide(conn, "confirmed")

    assert feed_of(conn, she) == set()


def test_pairs_that_may_match_again_are_searched_for_again(conn):
    let_match(conn, False)
    center = build.unit(0)
    she, he = a_person(conn, center), a_person(conn, center, "male")
    look(conn)
    build.a_match(conn, one(conn, "select id from public.faces where profile_id = %s", he))
    let_match(conn, True)
    job, token = build.claim(conn)

    assert build.complete(conn, job, token) == 1
    assert feed_of(conn, he) == {she}


def test_decision_is_kept_with_who_made_it_and_stays_when_the_pair_is_found_again(conn):
    first = a_person(conn, build.unit(0))
    second = a_person(conn, apart(build.unit(0), 0.2))
    look(conn)
    decide(conn, "dismissed")
    build.a_face(conn, second, build.unit(0))
    assert look(conn) == (1, 0)

    assert pairs(conn)[frozenset((first, second))] == (pytest.approx(0.2, abs=1e-3), "dismissed")
    assert one(conn, "select decided_by from automatch.suspected_duplicates") == "cli:linh"
    decide(conn, "open")
    assert one(conn, "select decided_by from automatch.suspected_duplicates") is None


def test_decisions_are_in_the_audit_log_with_whom_they_are_about(conn):
    first, second = a_person(conn, build.unit(0)), a_person(conn, build.unit(0))
    look(conn)
    pair = pair_id(conn)
    for state in ("confirmed", "confirmed", "open"):
        decide(conn, state)
    let_match(conn, False)
    log = conn.execute(
        "select action, actor, details from automatch.audit_log order by id"
    ).fetchall()

    both = {"pair": str(pair), "people": sorted(map(str, (first, second)))}
    assert [(action, details) for action, _, details in log] == [
        ("same_person", both | {"state": "confirmed", "before": "open"}),
        ("same_person", both | {"state": "open", "before": "confirmed"}),
        ("match_same_person", {"match": False}),
    ]
    assert {actor for _, actor, _ in log} == {"cli:linh"}


def test_unknown_pair_and_unknown_state_are_refused(conn):
    a_person(conn, build.unit(0))
    a_person(conn, build.unit(0))
    look(conn)
    with refused("not_found"), conn.transaction():
        decide(conn, "confirmed", "00000000-0000-0000-0000-000000000000")
    for state in ("maybe", None):
        with refused("input_invalid"), conn.transaction():
            decide(conn, state)
    with refused("input_invalid"), conn.transaction():
        let_match(conn, None)


def test_list_begins_with_the_closest_pair(conn):
    center = build.unit(0)
    a_person(conn, center)
    a_person(conn, apart(center, 0.3, seed=1), "male")
    a_person(conn, apart(center, 0.1, seed=2))
    look(conn)
    listed = conn.execute(
        "select round(u::numeric, 1)::float8, same_gender from public.list_suspected_duplicates()"
    ).fetchall()

    assert listed[0] == (0.1, True)
    assert listed[1][0] >= 0.3
