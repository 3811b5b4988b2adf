"""Matches as rows: one for two people, and what "not a match" does to later runs."""

from __future__ import annotations

from itertools import permutations
from uuid import uuid4

import psycopg
import pytest

from tests.support import build
from tests.support.build import acting, like, one, refused

SEEN = "select profile_id from public.feed_page()"


def feed(conn, person):
    with acting(conn, person):
        return [other for (other,) in conn.execute(SEEN).fetchall()]


@pytest.fixture
def matched(conn):
    """Give (profile, face) of a woman and a man who are matched."""
    she, he = build.a_pair(conn)
    assert build.a_match(conn, she[1]) == 1
    return she, he


def match_of(conn):
    return one(conn, "select id from public.matches")


def test_two_people_have_one_match_in_both_feeds_whoever_is_searched_for(conn, matched):
    (she, her_face), (he, his_face) = matched
    assert build.a_match(conn, his_face) == 1

    rows = conn.execute("select face_a_id, face_b_id, similarity from public.matches").fetchall()
    assert [row[:2] for row in rows] == [tuple(sorted([her_face, his_face]))]
    assert rows[0][2] == pytest.approx(0.8, abs=1e-5)
    assert (feed(conn, she), feed(conn, he)) == ([he], [she])


def test_match_reaches_one_whose_own_search_has_no_room_for_it(conn):
    center = build.unit(0)
    conn.execute("update public.match_settings set match_count = 2")
    he = build.a_profile(conn, gender="male")
    his_face = build.a_face(conn, he, center)
    for seed in range(3):
        build.a_face(conn, build.a_profile(conn), like(center, 0.95, seed=seed))
    she = build.a_profile(conn)
    her_face = build.a_face(conn, she, like(center, 0.6, seed=9))
    assert build.a_match(conn, his_face) == 2
    assert she not in feed(conn, he)

    assert build.a_match(conn, her_face) == 1
    assert feed(conn, he)[0] == she


def test_card_shows_the_best_photos_that_the_two_have_left(conn):
    """Not those of one of them and somebody else, though they are more alike."""
    center = build.unit(0)
    she, he, another = (build.a_profile(conn, gender=g) for g in ("female", "male", "male"))
    build.a_face(conn, she, center)
    best, worst, middle = (
        build.a_face(conn, he, like(center, similarity, seed=seed))
        for seed, similarity in enumerate([0.9, 0.6, 0.7])
    )
    theirs = build.a_face(conn, another, like(center, 0.8, seed=9))
    for face in (best, worst, middle, theirs):
        assert build.a_match(conn, face) == 1

    conn.execute("delete from public.faces where id = %s", [best])

    with acting(conn, she):
        cards = conn.execute("select profile_id, face_id from public.feed_page()").fetchall()
    assert dict(cards) == {he: middle, another: theirs}


@pytest.mark.parametrize(("threshold", "found"), [(0.79, 1), (0.81, 0)])
def test_threshold_is_the_one_in_the_settings(conn, threshold, found):
    she, _ = build.a_pair(conn, 0.8)
    conn.execute("update public.match_settings set threshold = %s", [threshold])

    assert build.a_match(conn, she[1]) == found


@pytest.mark.parametrize(
    ("change", "truth"),
    [
        ("face_a_id = face_b_id, face_b_id = face_a_id", "pair_is_ordered"),
        ("profile_a_id = profile_b_id", "pair_is_of_two_people"),
        ("similarity = 1.01", "similarity_is_0_to_1"),
        ("similarity = 'nan'", "similarity_is_0_to_1"),
    ],
)
def test_match_that_cannot_be_is_refused(conn, matched, change, truth):
    with pytest.raises(psycopg.errors.CheckViolation, match=truth):
        conn.execute(f"update public.matches set {change}")


@pytest.mark.parametrize("by", [0, 1])
@pytest.mark.parametrize("how", ["dismiss", "block"])
def test_not_a_match_holds_for_both_and_for_later_runs(conn, matched, by, how):
    (she, _), (he, _) = matched
    says, other = (she, he) if by == 0 else (he, she)
    with acting(conn, says):
        if how == "dismiss":
            conn.execute("select public.dismiss_match(%s)", [match_of(conn)])
        else:
            conn.execute("select public.block_profile(%s)", [other])
    assert (feed(conn, she), feed(conn, he)) == ([], [])

    for person in (she, he):
        assert build.a_match(conn, build.a_face(conn, person, build.unit(0))) == 0
    assert (feed(conn, she), feed(conn, he)) == ([], [])


@pytest.mark.parametrize("exists", [True, False])
def test_match_of_others_cannot_be_dismissed(conn, matched, exists):
    stranger = build.a_profile(conn)
    match = match_of(conn) if exists else uuid4()
    with refused("not_found"), acting(conn, stranger):
        conn.execute("select public.dismiss_match(%s)", [match])


def test_only_who_was_in_the_feed_can_be_blocked(conn, matched):
    (she, _), _ = matched
    stranger = build.a_profile(conn, gender="male")
    for other in (stranger, uuid4(), she):
        with refused("not_found"), acting(conn, she):
            conn.execute("select public.block_profile(%s)", [other])


@pytest.mark.parametrize(
    "change", ["school = 'HCMUS'", "gender = 'female'", "discoverable = false",
               "profile_type = 'celebrity'"],
)  # fmt: skip
def test_match_that_a_later_run_would_not_make_is_not_shown_either(conn, matched, change):
    (she, _), (he, his_face) = matched
    conn.execute(f"update public.profiles set {change} where id = %s", [he])
    assert feed(conn, she) == []
    with acting(conn, she):
        assert one(conn, "select public.viewable_photo(%s)", his_face) is None
        assert one(conn, "select count(*) from public.matches") == 0

    conn.execute(
        "update public.profiles set school = 'UIT', gender = 'male', discoverable = true,"
        " profile_type = 'user' where id = %s",
        [he],
    )
    assert feed(conn, she) == [he]


def test_two_photos_of_one_person_never_match(conn):
    person = build.a_profile(conn)
    faces = [build.a_face(conn, person, build.unit(0)) for _ in range(2)]

    assert [build.a_match(conn, face) for face in faces] == [0, 0]


ORDERS = sorted(set(permutations("AABB")))


@pytest.mark.parametrize("order", ORDERS, ids="".join)
def test_two_who_upload_at_once_match_in_whatever_order_their_work_is_done(conn, order):
    jobs = {}
    for name, gender in zip("AB", ("female", "male"), strict=True):
        person = build.a_profile(conn, gender=gender)
        job = build.a_job(conn, build.a_face(conn, person))
        jobs[name] = [
            ("select count(*) = 1 from public.store_face_embeddings("
"array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
" array['{}']::jsonb[], array['{}']::jsonb[])",
             [job, 1, like(build.unit(0), 0.9, seed=1)]),
            ("select match_count from public.complete_match_jobs(array[%s]::uuid[],"
" array[%s]::bigint[])", [job, 1]),
        ]  # fmt: skip
    build.claim_some(conn, 2)
    for name in order:
        conn.execute(*jobs[name].pop(0))

    assert one(conn, "select count(*) from public.matches") == 1
    assert one(conn, "select count(*) from automatch.feed_entries where match_id is not null") == 2


def test_two_jobs_completed_at_once_write_one_match(sessions):
    first, second, watcher = sessions.first, sessions.second, sessions.watcher
    (_, her_face), (_, his_face) = build.a_pair(first)
    for face in (her_face, his_face):
        build.a_job(first, face)
    hers, his = build.claim_some(first, 2)
    first.commit()
    assert build.complete(first, *hers) == 1
    completing = sessions.submit(build.complete, second, *his)
    first.commit()

    assert completing.result() == 1
    second.commit()
    assert one(watcher, "select count(*) from public.matches") == 1
    heads = watcher.execute("select last_position from automatch.feed_counters").fetchall()
    assert heads == [(1,), (1,)]
