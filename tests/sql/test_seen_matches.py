"""What of a feed is new, and its orders and filters."""

from __future__ import annotations

import pytest

from tests.support import build
from tests.support.build import acting, like, one

CENTER = build.unit(0)
SIMILARITIES = (0.6, 0.9, 0.7, 0.9, 0.8)


@pytest.fixture
def she(conn):
    """Give a woman with a photo and five matches, the last of them the newest."""
    person = build.a_profile(conn, name="She")
    build.a_face(conn, person, CENTER)
    for number, similarity in enumerate(SIMILARITIES):
        he = build.a_profile(conn, gender="male", name=f"{number}")
        build.a_match(conn, build.a_face(conn, he, like(CENTER, similarity, seed=number)))
    return person


def names(conn, person, **arguments):
    return [row[0] for row in listed(conn, person, "name", **arguments)]


def listed(conn, person, columns, **arguments):
    given = ", ".join(f"p_{name} => %({name})s" for name in arguments)
    with acting(conn, person):
        return conn.execute(
            f"select {columns} from public.list_matches({given})", arguments
        ).fetchall()


def match_of(conn, person, name):
    return next(match_id for match_id, its in listed(conn, person, "match_id, name") if its == name)


def see(conn, person, *who):
    matches = [match_of(conn, person, name) for name in who]
    with acting(conn, person):
        conn.execute("select public.mark_matches_seen(%s)", [matches])


def count_new(conn, person):
    with acting(conn, person):
        return one(conn, "select count(*) from public.list_new_matches()")


def seen_position(conn, person):
    return one(
        conn, "select seen_position from automatch.feed_counters where profile_id = %s", person
    )


def test_match_is_new_until_its_person_has_seen_it(conn, she):
    assert count_new(conn, she) == 5

    see(conn, she, "1", "4")

    assert count_new(conn, she) == 3
    assert names(conn, she, show="new") == ["3", "2", "0"]
    with acting(conn, she):
        new = conn.execute("select name from public.feed_page() where is_new").fetchall()
    assert new == [("3",), ("2",), ("0",)]


def test_what_one_of_two_has_seen_stays_new_to_the_other(conn, she):
    he = one(conn, "select id from public.profiles where name = '3'")

    see(conn, she, "3")

    assert count_new(conn, he) == 1


def test_nobody_sees_for_somebody_else(conn, she):
    matches = [row[0] for row in listed(conn, she, "match_id")]
    with acting(conn, build.a_profile(conn)):
        conn.execute("select public.mark_matches_seen(%s)", [matches])

    assert count_new(conn, she) == 5


def test_better_pair_of_photos_is_new_again_and_an_older_one_that_returns_is_not(conn, she):
    see(conn, she, "0", "1", "2", "3", "4")
    he = one(conn, "select id from public.profiles where name = '0'")
    better = build.a_face(conn, he, like(CENTER, 0.95, seed=9))
    build.a_match(conn, better)

    assert names(conn, she, show="new") == ["0"]

    see(conn, she, "0")
    conn.execute("delete from public.faces where id = %s", [better])

    assert names(conn, she)[0] == "0"
    assert count_new(conn, she) == 0


def test_position_below_which_nothing_is_new_follows_what_was_seen(conn, she):
    see(conn, she, "2")
    assert seen_position(conn, she) == 0

    see(conn, she, "0", "1")
    assert seen_position(conn, she) == 3

    see(conn, she, "4", "3")
    assert seen_position(conn, she) == 5


def test_match_with_somebody_who_hides_is_not_counted_as_new(conn, she):
    conn.execute("update public.profiles set discoverable = false where name = '3'")

    assert count_new(conn, she) == 4


def test_version_of_a_feed_changes_when_something_was_seen_and_only_then(conn, she):
    def version():
        return conn.execute("select * from public.feed_versions(%s)", [[she]]).fetchone()

    before = version()
    see(conn, she, "2")
    seen = version()
    see(conn, she, "2")

    assert before != seen
    assert version() == seen


@pytest.mark.parametrize(
    ("sort", "order"),
    [("newest", ["4", "3", "2", "1", "0"]), ("best", ["3", "1", "4", "2", "0"])],
)
@pytest.mark.parametrize("back", [False, True])
def test_each_order_goes_on_after_any_match_in_both_directions(conn, she, sort, order, back):
    places = {
        name: (similarity, place)
        for name, similarity, place in listed(conn, she, "name, similarity, place")
    }

    for number, name in enumerate(order):
        similarity, place = places[name]
        rest = names(conn, she, sort=sort, similarity=similarity, place=place, back=back, limit=2)

        assert rest == (order[:number][::-1] if back else order[number + 1 :])[:2]


def test_what_was_seen_a_moment_ago_can_still_be_gone_through(conn, she):
    since = one(conn, "select automatch.now()")
    see(conn, she, "3")

    assert names(conn, she, show="new", since=since) == ["4", "3", "2", "1", "0"]
    assert names(conn, she, show="new") == ["4", "2", "1", "0"]


def test_match_is_shown_to_both_with_their_eyes_and_to_nobody_else(conn, she):
    match_id = match_of(conn, she, "3")
    he = one(conn, "select id from public.profiles where name = '3'")
    conn.execute(
        "update public.face_embeddings as e set quality = jsonb_build_object('eyes', f.profile_id)"
        " from public.faces as f where f.id = e.face_id"
    )

    def shown(person):
        with acting(conn, person):
            return conn.execute(
                "select name, eyes #>> '{}', own_eyes #>> '{}' from public.show_match(%s)",
                [match_id],
            ).fetchall()

    assert shown(she) == [("3", str(he), str(she))]
    assert shown(he) == [("She", str(she), str(he))]
    assert shown(build.a_profile(conn)) == []

    conn.execute("update public.profiles set discoverable = false where name = '3'")
    assert shown(she) == []


def test_link_to_an_older_pair_shows_the_pair_of_the_card(conn, she):
    match_id = match_of(conn, she, "0")
    he = one(conn, "select id from public.profiles where name = '0'")
    build.a_match(conn, build.a_face(conn, he, like(CENTER, 0.95, seed=9)))

    with acting(conn, she):
        shown = one(conn, "select match_id from public.show_match(%s)", match_id)
    assert shown == match_of(conn, she, "0") != match_id
