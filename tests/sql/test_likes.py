"""Likes: nobody is told before both like, and what hides one of the two hides what they share."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.sql.test_export import export
from tests.support import build
from tests.support.build import acting, one, refused

HERS = ("See you at the library", "@her")
HIS = ("I'm the one with the bike", "@him")
CARD = "select liked, mutual, sentence, handle from public.feed_page() where profile_id = %s"
NOTHING = (False, False, None, None)


def card(conn, viewer, other):
    """Return what a person's feed says of another: liked, mutual, sentence, handle."""
    with acting(conn, viewer):
        return conn.execute(CARD, [other]).fetchone()


def news(conn, person, after):
    with acting(conn, person):
        return conn.execute(
            "select position, profile_id, mutual, sentence, place"
            " from public.feed_page(null, %s, 100)",
            [after],
        ).fetchall()


def position(conn, person):
    with acting(conn, person):
        return one(conn, "select public.feed_position()")


def match_of(conn, a, b):
    return one(
        conn,
        "select id from public.matches where profile_a_id in (%s, %s) and profile_b_id in (%s, %s)",
        a, b, a, b,
    )  # fmt: skip


def say_like(conn, person, other):
    with acting(conn, person):
        return one(conn, "select public.like_profile(%s)", other)


def unlike(conn, person, other):
    with acting(conn, person):
        conn.execute("select public.unlike_profile(%s)", [other])


def share(conn, person, texts):
    with acting(conn, person):
        conn.execute("select public.save_share(%s, %s)", texts)


@pytest.fixture
def two(conn):
    """Give a woman and a man who are matched and have something to share."""
    she, he = build.a_pair(conn)
    build.a_match(conn, she[1])
    share(conn, she[0], HERS)
    share(conn, he[0], HIS)
    return she[0], he[0]


@pytest.fixture
def both(conn, two):
    """Give the two once both have liked."""
    she, he = two
    say_like(conn, she, he)
    say_like(conn, he, she)
    return two


def all_that_he_can_read(conn, person):
    """Return every row and number that somebody who is signed in gets out of the database."""
    with acting(conn, person):
        rows = {
            name: conn.execute(query).fetchall()
            for name, query in {
                "feed": "select * from public.feed_page()",
                "news": "select * from public.feed_page(null, 0, 100)",
                "position": "select public.feed_position()",
                "numbers": "select public.last_match_number()",
                "after": "select * from public.matches_after(0)",
                "matches": "select id, face_a_id, face_b_id, created_at from public.matches",
                "jobs": "select id, status, match_count from public.match_jobs",
                "hidden": "select * from public.list_hidden_profiles()",
                "views": "select * from public.count_photo_views()",
                "cases": "select * from public.list_own_cases()",
            }.items()
        }
    rows["version"] = conn.execute(
        "select * from public.feed_versions(array[%s]::uuid[])", [person]
    ).fetchall()
    rows["export"] = dict(export(conn, person))
    return rows


def test_one_side_changes_nothing_that_the_other_could_read(conn, two):
    she, he = two
    before = all_that_he_can_read(conn, he)
    assert say_like(conn, she, he) is False

    assert card(conn, she, he) == (True, False, None, None)
    assert all_that_he_can_read(conn, he) == before
    unlike(conn, she, he)
    assert all_that_he_can_read(conn, he) == before


def test_both_are_told_and_see_what_each_shares(conn, two):
    she, he = two
    say_like(conn, she, he)
    before = {person: position(conn, person) for person in two}
    assert say_like(conn, he, she) is True

    assert card(conn, she, he) == (True, True, *HIS)
    assert card(conn, he, she) == (True, True, *HERS)
    for person, other in (two, two[::-1]):
        [(number, who, mutual, _, place)] = news(conn, person, before[person])
        assert (who, mutual, place) == (other, True, number), "news go to the top"
    assert one(conn, "select count(*) from automatch.likes where told_at is not null") == 2


def test_taking_a_like_back_takes_what_was_shared_from_both_at_once(conn, both):
    she, he = both
    before = {person: position(conn, person) for person in both}
    unlike(conn, she, he)

    assert card(conn, she, he) == NOTHING
    assert card(conn, he, she) == (True, False, None, None)
    for person, other in (both, both[::-1]):
        [(number, who, mutual, sentence, place)] = news(conn, person, before[person])
        assert (who, mutual, sentence) == (other, False, None)
        assert place < number, "the card stays where it is"


def see(conn, person):
    with acting(conn, person):
        conn.execute("select public.mark_matches_seen(array(select id from public.matches))")


def told(conn, person):
    """Return what the three ways to a card say: that both liked once, and whether it is new."""
    with acting(conn, person):
        [match] = conn.execute("select match_id from public.feed_page()").fetchone()
        found = {
            conn.execute(f"select was_mutual, is_new from public.{query}").fetchone()
            for query in ("feed_page()", "list_matches()", f"show_match('{match}')")
        }
    [says] = found
    return says


def test_that_both_liked_stays_told_until_it_is_seen_even_if_taken_back_at_once(conn, two):
    she, he = two
    say_like(conn, he, she)
    for person in two:
        see(conn, person)
    say_like(conn, she, he)
    unlike(conn, she, he)

    assert card(conn, he, she) == (True, False, None, None)
    assert told(conn, he) == (True, True)
    assert one(conn, "select told_at is not null from automatch.likes where profile_id = %s", he)
    see(conn, he)
    assert told(conn, he) == (False, False)


def test_nobody_reads_again_what_is_shared_without_the_other_being_told_again(conn, both):
    she, he = both
    unlike(conn, she, he)
    see(conn, he)
    first = one(conn, "select told_at from automatch.likes where profile_id = %s", he)
    before = position(conn, he)
    assert say_like(conn, she, he) is True

    [(number, _, mutual, _, place)] = news(conn, he, before)
    assert (mutual, place) == (True, number), "news go to the top"
    assert told(conn, he) == (False, True)
    again = one(conn, "select told_at from automatch.likes where profile_id = %s", he)
    assert again > first


def test_person_likes_a_hundred_times_a_day_also_without_a_server(conn, two):
    she, he = two
    build.set_clock(conn, one(conn, "select automatch.now()"))
    with acting(conn, she):
        conn.execute(
            "select public.like_profile(%(he)s), public.unlike_profile(%(he)s)"
            " from generate_series(1, 100)",
            {"he": he},
        )
    with refused("rate_limited"):
        say_like(conn, she, he)


def test_liking_twice_is_liking_once(conn, two):
    she, he = two
    assert [say_like(conn, she, he) for _ in range(2)] == [False, False]
    assert [say_like(conn, he, she) for _ in range(2)] == [True, True]


def test_only_who_has_the_card_can_like(conn, two):
    she, he = two
    stranger = build.a_profile(conn)
    for who, whom in ((stranger, he), (she, stranger), (she, uuid4()), (she, she)):
        for act in (say_like, unlike):
            with refused("not_found"):
                act(conn, who, whom)


def test_stranger_reads_neither_likes_nor_what_is_shared(conn, both):
    stranger = build.a_profile(conn)
    for query in (
        "select * from automatch.likes",
        "select * from automatch.shares",
        "insert into automatch.likes select gen_random_uuid(), gen_random_uuid()",
    ):
        for who in (stranger, both[0]):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), acting(conn, who):
                conn.execute(query)
    with acting(conn, stranger):
        assert conn.execute("select * from public.get_share()").fetchall() == []


def dismiss(conn, person, other):
    match = match_of(conn, person, other)
    with acting(conn, person):
        conn.execute("select public.dismiss_match(%s)", [match])


def call_as(query):
    def act(conn, person, other):
        with acting(conn, person):
            conn.execute(query, [other])

    return act


def as_owner(query):
    return lambda conn, person, _other: conn.execute(query, [person])


HIDES = {
    "block": (
        call_as("select public.block_profile(%s)"),
        call_as("select public.unblock_profile(%s)"),
    ),
    "dismissal": (dismiss, call_as("select public.undo_dismissal(%s)")),
    "freeze": (
        as_owner("select public.freeze_person(%s, 'x')"),
        as_owner("select public.unfreeze_person(%s)"),
    ),
    "school": (
        as_owner("update public.profiles set school = 'HCMUS' where id = %s"),
        as_owner("update public.profiles set school = 'UIT' where id = %s"),
    ),
    "pause": (
        as_owner("update public.profiles set discoverable = false where id = %s"),
        as_owner("update public.profiles set discoverable = true where id = %s"),
    ),
}


@pytest.mark.parametrize("how", HIDES)
def test_whatever_hides_one_hides_what_both_share_and_undoing_it_brings_it_back(conn, both, how):
    she, he = both
    hide, undo = HIDES[how]
    place = "select place, created_at from automatch.feed_entries where profile_id = %s"
    before = conn.execute(place, [she]).fetchall()
    hide(conn, he, she)

    for viewer, other in (both, both[::-1]):
        shown = card(conn, viewer, other)
        assert shown is None or shown[1:] == (False, None, None)
        assert all(row[2:4] == (False, None) for row in news(conn, viewer, 0))
    assert not any(
        like["mutual"] for like in export(conn, she)["likes"] + export(conn, he)["likes"]
    )
    undo(conn, he, she)
    assert card(conn, she, he) == (True, True, *HIS)
    assert card(conn, he, she) == (True, True, *HERS)
    if how in {"block", "dismissal"}:
        assert conn.execute(place, [she]).fetchall() == before, "as it was"


def test_who_hides_cannot_find_out_who_likes_them(conn, two):
    she, he = two
    say_like(conn, she, he)
    HIDES["pause"][0](conn, he, she)

    with refused("forbidden"):
        say_like(conn, he, she)


@pytest.mark.parametrize("who_hides", [0, 1])
@pytest.mark.parametrize("how", HIDES)
def test_who_does_not_see_what_is_shared_sees_no_change_of_it(conn, both, how, who_hides):
    she, he = both
    HIDES[how][0](conn, both[who_hides], both[1 - who_hides])
    before = all_that_he_can_read(conn, he)
    share(conn, she, ("Moved to Zalo", None))
    unlike(conn, she, he)

    assert all_that_he_can_read(conn, he) == before


def test_sharing_the_same_again_changes_nothing(conn, both):
    she, he = both
    before = all_that_he_can_read(conn, he)
    share(conn, she, HERS)
    assert all_that_he_can_read(conn, he) == before


def report(conn, person, other):
    with acting(conn, person):
        conn.execute("select public.report_profile(%s, 'fake')", [other])


@pytest.mark.parametrize("how", ["block", "dismissal", "report"])
def test_who_hid_somebody_does_not_learn_that_they_hide_too(conn, both, how):
    she, he = both
    dismiss(conn, he, she)
    before = all_that_he_can_read(conn, he)
    hide, undo = HIDES[how] if how in HIDES else (report, HIDES["block"][1])
    hide(conn, she, he)
    assert all_that_he_can_read(conn, he) == before
    undo(conn, she, he)
    assert all_that_he_can_read(conn, he) == before


def test_undoing_at_once_searches_for_nothing_whatever_the_other_does(conn, two):
    she, he = two
    build.a_job(conn, build.a_face(conn, he, build.unit(0)))
    jobs = one(conn, "select count(*) from public.match_jobs")
    dismiss(conn, she, he)
    HIDES["dismissal"][1](conn, she, he)
    assert one(conn, "select count(*) from public.match_jobs") == jobs

    dismiss(conn, she, he)
    conn.execute("update public.match_dismissals set created_at = created_at - interval '1 minute'")
    HIDES["dismissal"][1](conn, she, he)
    assert one(conn, "select count(*) from public.match_jobs") == jobs + 1


def test_line_of_a_photo_counts_whom_it_matches_now(conn, two):
    she, he = two
    face = one(conn, "select id from public.faces where profile_id = %s", she)

    def count(person=she):
        with acting(conn, person):
            return one(conn, "select automatch.count_shown_matches(%s)", face)

    third = build.a_profile(conn, gender="male")
    build.a_match(conn, build.a_face(conn, third, build.unit(0)))
    assert (count(), count(he)) == (2, 0), "of one's own photo alone"
    for hide, undo in HIDES.values():
        hide(conn, he, she)
        assert count() == 1
        undo(conn, he, she)
        assert count() == 2
    conn.execute("delete from public.profiles where id = %s", [third])
    assert count() == 1


def test_erasing_one_leaves_nothing_of_it(conn, both):
    she, he = both
    conn.execute("delete from public.profiles where id = %s", [he])

    assert one(conn, "select count(*) from automatch.likes") == 0
    assert one(conn, "select count(*) from automatch.shares") == 1
    assert card(conn, she, he) is None


def test_change_of_what_is_shared_reaches_those_who_see_it_and_nobody_else(conn, both):
    she, he = both
    third = build.a_profile(conn, gender="male")
    build.a_match(conn, build.a_face(conn, third, build.unit(0)))
    before = {person: position(conn, person) for person in (he, third)}
    share(conn, she, ("Moved to Zalo", None))

    [(_, who, _, sentence, _)] = news(conn, he, before[he])
    assert (who, sentence) == (she, "Moved to Zalo")
    assert news(conn, third, before[third]) == []
    share(conn, she, ("", " "))
    assert card(conn, he, she) == (True, True, None, None)


@pytest.mark.parametrize(
    "texts", [("x" * 201, None), (None, "x" * 61), ("a\nb", None), (None, "\x07")]
)
def test_only_short_lines_can_be_shared(conn, two, texts):
    with refused("input_invalid"):
        share(conn, two[0], texts)


def test_report_keeps_what_was_shared_for_the_operators_alone(conn, both):
    she, he = both
    with acting(conn, she):
        case = one(conn, "select public.report_profile(%s, 'harassment', 'rude')", he)

    messages = "select audience, body from public.list_case_messages(%s)"
    shared = ("operators", f"They shared with the reporter: {HIS[0]} / {HIS[1]}")
    assert shared in conn.execute(messages, [case]).fetchall()
    for person in both:
        with acting(conn, person):
            told = conn.execute("select body from public.list_own_case_messages()").fetchall()
        assert all(HIS[0] not in body for (body,) in told)
        assert HIS[0] not in str(export(conn, person).get("reports"))


@pytest.mark.parametrize("why", ["one like", "hides"])
def test_report_says_nothing_of_what_its_reporter_was_not_shown(conn, two, why):
    she, he = two
    say_like(conn, she, he)
    if why == "hides":
        say_like(conn, he, she)
        HIDES["pause"][0](conn, she, he)
    with acting(conn, she):
        case = one(conn, "select public.report_profile(%s, 'harassment', 'rude')", he)

    bodies = conn.execute("select body from public.list_case_messages(%s)", [case]).fetchall()
    assert bodies == [("rude",)]


@pytest.mark.parametrize("reason", ["harassment", "not_their_photo", "under_18"])
def test_report_that_is_taken_back_at_once_leaves_everything_as_it_was(conn, both, reason):
    she, he = both
    with acting(conn, she):
        case = one(conn, "select public.report_profile(%s, %s, 'oops')", he, reason)
        conn.execute("select public.withdraw_report(%s)", [case])

    for table in ("automatch.frozen_profiles", "automatch.held_faces", "public.profile_blocks"):
        assert one(conn, f"select count(*) from {table}") == 0
    if reason != "not_their_photo":
        assert card(conn, he, she) == (True, True, *HERS)
    for person in both:
        with acting(conn, person):
            assert conn.execute("select * from public.list_own_cases()").fetchall() == []
    with acting(conn, she):
        again = one(conn, "select public.report_profile(%s, %s, 'x')", he, reason)
    assert not one(conn, "select hides from automatch.cases where id = %s", again), "one a day"


@pytest.mark.parametrize("late", ["time", "operator", "stranger"])
def test_report_is_not_taken_back_later_or_by_others(conn, both, late):
    she, he = both
    with acting(conn, she):
        case = one(conn, "select public.report_profile(%s, 'harassment', 'rude')", he)
    if late == "time":
        conn.execute("update automatch.cases set opened_at = opened_at - interval '2 minutes'")
    if late == "operator":
        conn.execute("select public.answer_case('thanh', %s, 'reporter', 'Thank you.')", [case])
    with refused("not_found"), acting(conn, he if late == "stranger" else she):
        conn.execute("select public.withdraw_report(%s)", [case])


@pytest.mark.parametrize("how", ["block", "dismissal", "pause"])
@pytest.mark.parametrize("changes", [True, False])
def test_who_hides_and_comes_back_reads_no_change_without_the_other_being_told_again(
    conn, both, how, changes
):
    she, he = both
    for person in both:
        see(conn, person)
    hide, undo = HIDES[how]
    hide(conn, he, she)
    before = position(conn, she)
    if changes:
        share(conn, she, ("Moved to Zalo", None))

    undo(conn, he, she)

    [(number, _, mutual, _, place)] = news(conn, she, before)
    assert mutual
    assert told(conn, she) == (False, changes)
    if changes:
        assert card(conn, he, she)[2] == "Moved to Zalo"
        assert place == number, "news go to the top"


def delete_photo(conn, person):
    conn.execute("delete from public.faces where profile_id = %s", [person])


def erase(conn, person):
    conn.execute("delete from public.profiles where id = %s", [person])


@pytest.mark.parametrize("goes", [delete_photo, erase])
@pytest.mark.parametrize("how", ["block", "dismissal"])
@pytest.mark.parametrize("who_hides", [0, 1])
def test_who_is_hidden_from_somebody_does_not_learn_that_a_photo_or_they_go(
    conn, two, goes, how, who_hides
):
    she, he = two
    HIDES[how][0](conn, two[who_hides], two[1 - who_hides])
    before = all_that_he_can_read(conn, he)

    goes(conn, she)

    after = all_that_he_can_read(conn, he)
    # What an open page reads again by.
    for number in ("position", "version"):
        assert after[number] == before[number]


def test_photo_that_goes_takes_the_card_from_open_pages(conn, two):
    she, he = two
    before = position(conn, he)

    delete_photo(conn, she)

    assert [row[1] for row in news(conn, he, before)] == [she]
