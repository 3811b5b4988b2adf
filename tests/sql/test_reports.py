"""Reports and requests to take a photo down: who may make one, and what it hides by itself."""

from __future__ import annotations

import hashlib
from uuid import uuid4

import pytest

from tests.support import build
from tests.support.build import acting, one, refused
from tests.support.cases import (
    EXPIRE,
    TOKEN,
    a_pair,
    a_witness,
    columns,
    decide,
    feed,
    is_frozen,
    is_held,
    own,
    report,
    take_down,
)


def test_reporter_and_reported_do_not_see_each_other_any_more(conn):
    (she, _), (he, his_face) = a_pair(conn)
    witness = a_witness(conn)

    case = report(conn, she, he, "harassment", "He writes to me every night.")

    assert (feed(conn, she), feed(conn, he)) == ([], [witness])
    assert columns(conn, case, "state, hides, face_id") == ("open", False, his_face)
    assert own(conn, she) == [("reporter", "open", None, None)]
    # He does not learn of it.
    assert own(conn, he) == []


@pytest.mark.parametrize("who", ["stranger", "nobody", "herself"])
def test_report_of_somebody_who_was_not_shown_is_as_of_nobody(conn, who):
    (she, _), _ = a_pair(conn)
    other = {"stranger": build.a_profile(conn, gender="male"), "nobody": uuid4(), "herself": she}

    with refused("not_found"):
        report(conn, she, other[who])


def test_report_of_a_photo_that_was_not_shown_is_as_of_none(conn):
    (she, _), (he, _) = a_pair(conn)
    hidden = build.a_face(conn, he, build.unit(5))

    for face in (hidden, uuid4()):
        with refused("not_found"):
            report(conn, she, he, face=face)


def test_somebody_whose_card_is_gone_can_still_be_reported(conn):
    (she, _), (he, _) = a_pair(conn)
    with acting(conn, he):
        conn.execute("select public.block_profile(%s)", [she])
    with acting(conn, she):
        shown = conn.execute(
            "select profile_id, name, face_id from public.find_shown_person(%s)", [he]
        ).fetchone()

    assert shown == (he, None, None)
    assert columns(conn, report(conn, she, he), "profile_id") == (he,)


def test_the_same_report_again_adds_to_the_open_case(conn):
    (she, _), (he, _) = a_pair(conn)
    case = report(conn, she, he, statement="First.")

    assert report(conn, she, he, statement="Second.") == case
    assert report(conn, she, he, "fake") != case
    messages = conn.execute("select body from public.list_case_messages(%s)", [case]).fetchall()
    assert messages == [("First.",), ("Second.",)]


def test_photo_that_is_said_to_be_stolen_leaves_all_feeds_until_it_is_decided(conn):
    (she, _), (he, his_face) = a_pair(conn)
    witness = a_witness(conn)

    case = report(conn, she, he, "not_their_photo")

    assert is_held(conn, his_face)
    assert (feed(conn, he), feed(conn, witness)) == ([], [])
    assert own(conn, he) == [("reported", "open", None, "hidden")]
    assert decide(conn, case, "dismiss") == "dismissed"
    assert not is_held(conn, his_face)
    assert own(conn, he) == [("reported", "decided", "dismissed", None)]


def test_somebody_who_is_said_to_be_a_minor_is_frozen_until_it_is_decided(conn):
    (she, _), (he, _) = a_pair(conn)
    witness = a_witness(conn)

    case = report(conn, she, he, "under_18")

    assert is_frozen(conn, he)
    assert feed(conn, witness) == []
    decide(conn, case, "dismiss")
    assert not is_frozen(conn, he)
    assert feed(conn, witness) == [he]


@pytest.mark.parametrize("reason", ["harassment", "fake", "other"])
def test_no_number_of_other_reports_hides_anybody_from_others(conn, reason):
    (she, _), (he, _) = a_pair(conn)
    reporters = [she, *(a_witness(conn) for _ in range(3))]
    last = a_witness(conn)

    for person in reporters:
        report(conn, person, he, reason)

    assert feed(conn, last) == [he]


def test_one_person_hides_one_photo_a_day(conn):
    (she, her_face), (he, his_face) = a_pair(conn)
    other = build.a_profile(conn, gender="male")
    other_face = build.a_face(conn, other, build.like(build.unit(0), 0.9, seed=3))
    build.a_match(conn, her_face)

    cases = [report(conn, she, person, "not_their_photo") for person in (he, other)]

    assert (is_held(conn, his_face), is_held(conn, other_face)) == (True, False)
    conn.execute("update automatch.cases set opened_at = opened_at - interval '25 hours'")
    for case in cases:
        decide(conn, case, "close")
    assert is_held(conn, his_face)


def test_all_people_together_hide_twenty_a_day(conn):
    (she, _), (he, his_face) = a_pair(conn)
    conn.execute(
        "insert into automatch.cases (kind, reason, hides)"
        " select 'report', 'not_their_photo', true from generate_series(1, 20)"
    )
    case = report(conn, she, he, "not_their_photo")

    assert not is_held(conn, his_face)
    assert columns(conn, case, "state, hides") == ("open", False)


@pytest.mark.parametrize(("kind", "count"), [("take_down", 5), ("report", 20)])
def test_requests_without_an_account_and_reports_have_a_budget_each(conn, kind, count):
    (_, her_face), (he, his_face) = a_pair(conn)
    conn.execute(
        "insert into automatch.cases (kind, reason, hides)"
        " select %s, 'not_their_photo', true from generate_series(1, %s)",
        [kind, count],
    )
    take_down(conn, her_face)
    conn.execute("select public.prove_take_down(%s)", [TOKEN])
    assert is_held(conn, her_face) == (kind == "report")

    witness = a_witness(conn)
    report(conn, witness, he, "not_their_photo")
    assert is_held(conn, his_face) == (kind == "take_down")


def test_nobody_without_an_account_freezes_somebody_but_it_is_looked_at_first(conn):
    (she, _), (he, _) = a_pair(conn)
    report(conn, she, he, "harassment")
    case = take_down(conn, he, "under_18")
    conn.execute("select public.prove_take_down(%s)", [TOKEN])

    assert not is_frozen(conn, he)
    assert one(conn, "select id from public.list_cases() limit 1") == case


def test_case_that_hides_something_is_not_pointed_at_something_else(conn):
    (she, her_face), (he, _) = a_pair(conn)
    case = report(conn, she, he, "not_their_photo")

    with refused("input_invalid"):
        conn.execute("select public.point_case(%s, %s)", [case, her_face])


@pytest.mark.parametrize("by", ["the same person", "somebody else"])
def test_what_was_found_wrong_once_hides_nothing_again(conn, by):
    (she, _), (he, his_face) = a_pair(conn)
    witness = a_witness(conn)
    decide(conn, report(conn, she, he, "not_their_photo"), "dismiss")
    conn.execute("update automatch.cases set opened_at = opened_at - interval '2 days'")
    if by == "the same person":
        # Another photo of his.
        again, shown = she, build.a_face(conn, he, build.like(build.unit(0), 0.95, seed=4))
        conn.execute("delete from public.profile_blocks")
        build.a_match(conn, shown)
    else:
        again, shown = witness, his_face

    report(conn, again, he, "not_their_photo")

    assert not is_held(conn, shown)


def test_take_down_request_does_nothing_until_its_link_is_used_once(conn):
    _, (he, his_face) = a_pair(conn)
    case = take_down(conn, his_face)
    assert conn.execute("select * from public.list_cases()").fetchall() == []
    assert not is_held(conn, his_face)

    assert one(conn, "select public.prove_take_down(%s)", TOKEN)

    assert is_held(conn, his_face)
    assert not one(conn, "select public.prove_take_down(%s)", TOKEN)
    assert [row[0] for row in conn.execute("select id from public.list_cases()")] == [case]
    assert own(conn, he) == [("reported", "open", None, "hidden")]


def test_one_address_hides_one_photo_a_day(conn):
    (_, her_face), (_, his_face) = a_pair(conn)
    take_down(conn, his_face)
    conn.execute("select public.prove_take_down(%s)", [TOKEN])
    other = hashlib.sha256(b"other").digest()
    take_down(conn, her_face, token=other)
    conn.execute("select public.prove_take_down(%s)", [other])

    assert (is_held(conn, his_face), is_held(conn, her_face)) == (True, False)


def test_request_about_nothing_we_know_is_kept_alike(conn):
    case = take_down(conn, uuid4())

    assert one(conn, "select public.prove_take_down(%s)", TOKEN)
    assert columns(conn, case, "state, profile_id, face_id") == ("open", None, None)
    he = build.a_profile(conn)
    face = build.a_face(conn, he)
    conn.execute("select public.point_case(%s, %s)", [case, face])
    assert columns(conn, case, "profile_id, face_id") == (he, face)


def test_request_about_a_person_is_about_their_only_photo_or_one_that_is_chosen(conn):
    he = build.a_profile(conn)
    face = build.a_face(conn, he)
    only, chosen = take_down(conn, he), take_down(conn, he, address="b", token=b"other")
    for token in (TOKEN, b"other"):
        conn.execute("select public.prove_take_down(%s)", [token])

    assert one(conn, "select public.open_case_photo(%s)", only).endswith(str(face))
    assert decide(conn, only, "hide") == "hidden"
    assert is_held(conn, face)
    assert columns(conn, only, "face_id") == (face,)
    second = build.a_face(conn, he, build.unit(1))
    for act in ("hide", "unhide", "erase_photo"):
        with refused("input_invalid"), conn.transaction():
            decide(conn, chosen, act)
    assert decide(conn, chosen, "hide", face=second) == "hidden"
    assert columns(conn, chosen, "face_id") == (second,)


def test_photo_that_is_named_for_another_decision_is_not_of_the_case(conn):
    case = take_down(conn, build.a_profile(conn))

    decide(conn, case, "freeze", face=build.a_face(conn, build.a_profile(conn)))

    assert columns(conn, case, "face_id") == (None,)


def test_unproven_request_and_expired_link_are_nothing(conn):
    case = take_down(conn, None)
    conn.execute("update automatch.case_contacts set token_expires_at = now() - interval '1 s'")

    assert not one(conn, "select public.prove_take_down(%s)", TOKEN)
    assert not one(conn, "select public.write_to_case_by_token(%s, 'Hello?')", TOKEN)
    conn.execute("update automatch.cases set unproven_until = now() - interval '1 s'")
    conn.execute(EXPIRE, ["1 day", "1 day"])
    assert columns(conn, case, "id") is None
