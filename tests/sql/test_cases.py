"""Cases: what operators do and see, who appeals, and what outlives people."""

from __future__ import annotations

import pytest

from tests.support import build
from tests.support.build import acting, one, refused
from tests.support.cases import (
    ACTOR,
    EXPIRE,
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


@pytest.mark.parametrize(
    ("act", "undo", "decision"), [("hide", "unhide", "hidden"), ("freeze", "unfreeze", "frozen")]
)
def test_hiding_and_freezing_take_from_both_feeds_and_come_back(conn, act, undo, decision):
    (she, _), (he, _) = a_pair(conn)
    witness = a_witness(conn)
    case = report(conn, she, he)

    assert decide(conn, case, act) == decision
    assert (feed(conn, he), feed(conn, witness)) == ([], [])
    assert own(conn, he) == [("reported", "decided", decision, decision)]
    assert decide(conn, case, undo) == "restored"
    assert own(conn, he) == [("reported", "decided", "restored", None)]
    if act == "freeze":
        assert feed(conn, witness) == [he]
    else:
        build.a_match(conn, build.a_face(conn, witness, build.unit(0)))
        assert feed(conn, witness) == [he]


@pytest.mark.parametrize("act", ["erase_photo", "erase_person"])
def test_erasing_leaves_the_case_without_anybody_in_it(conn, act):
    (she, _), (he, his_face) = a_pair(conn)
    case = report(conn, she, he, "fake", "His name is Minh.")

    decision = decide(conn, case, act)

    assert one(conn, "select true from public.faces where id = %s", his_face) is None
    assert columns(conn, case, "state, decision") == ("decided", decision)
    assert columns(conn, case, "face_id") == (None,)
    gone = act == "erase_person"
    assert columns(conn, case, "profile_id") == (None if gone else he,)
    texts = conn.execute("select body from automatch.case_messages").fetchall()
    assert texts == ([] if gone else [("His name is Minh.",)])
    assert own(conn, she) == [("reporter", "decided", decision, None)]


def test_case_of_a_reporter_who_leaves_stays_without_their_words(conn):
    (she, _), (he, _) = a_pair(conn)
    case = report(conn, she, he, "harassment", "I am Linh.")

    conn.execute("delete from public.profiles where id = %s", [she])

    assert columns(conn, case, "state, profile_id, reporter_id") == ("open", he, None)
    assert conn.execute("select body from automatch.case_messages").fetchall() == []


def test_photo_of_a_case_is_found_and_its_person_is_told_that_an_operator_looked(conn):
    (she, _), (he, his_face) = a_pair(conn)
    case = report(conn, she, he)

    path = one(conn, "select public.open_case_photo(%s)", case)

    assert path.endswith(str(his_face))
    with acting(conn, he):
        days = one(conn, "select operator_days_this_month from public.count_photo_views()")
    assert days == 1


def test_photo_of_somebody_else_is_not_behind_a_case(conn):
    (she, her_face), (he, _) = a_pair(conn)
    case = report(conn, she, he)

    with refused("not_found"):
        conn.execute("select public.open_case_photo(%s, %s)", [case, her_face])


def test_operator_sees_to_whom_somebody_was_shown(conn):
    (she, _), (he, _) = a_pair(conn)
    witness = a_witness(conn)
    case = report(conn, she, he)

    viewers = conn.execute("select profile_id, is_shown from public.list_case_viewers(%s)", [case])

    assert dict(viewers.fetchall()) == {she: False, witness: True}


def test_answers_go_to_one_side_and_notes_to_operators_alone(conn):
    (she, _), (he, _) = a_pair(conn)
    case = report(conn, she, he, statement="He is not real.")
    for to, text in [("reported", "Is it you?"), ("reporter", "Thank you."), ("operators", "Hm.")]:
        conn.execute("select public.answer_case(%s, %s, %s, %s)", [ACTOR, case, to, text])
    assert columns(conn, case, "state") == ("waiting",)
    read = {}
    for person in (she, he):
        with acting(conn, person):
            rows = conn.execute("select author, body from public.list_own_case_messages()")
            read[person] = rows.fetchall()

    assert read[she] == [("reporter", "He is not real."), ("operator", "Thank you.")]
    assert read[he] == [("operator", "Is it you?")]
    with acting(conn, he):
        conn.execute("select public.write_to_case(%s, 'Yes.')", [case])
    assert columns(conn, case, "state") == ("open",)


def test_appeal_opens_the_case_once_and_asks_for_somebody_else(conn):
    (she, _), (he, his_face) = a_pair(conn)
    case = report(conn, she, he)
    decide(conn, case, "hide")
    with acting(conn, he):
        conn.execute("select public.write_to_case(%s, 'It is me.')", [case])
    assert columns(conn, case, "state") == ("open",)
    assert is_held(conn, his_face)

    with refused("input_invalid"), conn.transaction():
        decide(conn, case, "unhide")
    assert decide(conn, case, "unhide", actor="cli:hoa") == "restored"

    assert not is_held(conn, his_face)
    with refused("input_invalid"), acting(conn, he):
        conn.execute("select public.write_to_case(%s, 'And now?')", [case])


def test_operator_who_is_alone_decides_the_appeal_too(conn):
    (she, _), (he, _) = a_pair(conn)
    case = report(conn, she, he)
    decide(conn, case, "hide")
    with acting(conn, he):
        conn.execute("select public.write_to_case(%s, 'It is me.')", [case])

    assert decide(conn, case, "unhide", alone=True) == "restored"


@pytest.mark.parametrize("who", ["stranger", "reported"])
def test_nobody_else_reads_or_writes_in_a_case(conn, who):
    (she, _), (he, _) = a_pair(conn)
    case = report(conn, she, he)
    person = build.a_profile(conn) if who == "stranger" else he

    with refused("not_found"), acting(conn, person):
        conn.execute("select public.write_to_case(%s, 'Who was it?')", [case])


def test_ban_outlives_the_person_and_can_be_lifted(conn):
    (she, _), (he, _) = a_pair(conn)
    case = report(conn, she, he)
    conn.execute("select public.ban_address(%s, %s, 'hash')", [ACTOR, case])
    assert is_frozen(conn, he)

    decide(conn, case, "erase_person")

    assert one(conn, "select public.find_ban('hash')") == case
    assert one(conn, "select public.lift_ban(%s)", case)
    assert one(conn, "select public.find_ban('hash')") is None
    assert not one(conn, "select public.lift_ban(%s)", case)


def test_texts_go_a_while_after_the_decision_and_the_case_later(conn):
    (she, _), (he, _) = a_pair(conn)
    case = report(conn, she, he, statement="Words.")
    decide(conn, case, "close")
    conn.execute(EXPIRE, ["10 days", "-1 s"])
    left = columns(conn, case, "state"), one(conn, "select count(*) from automatch.case_messages")
    conn.execute(EXPIRE, ["-1 s", "-1 s"])

    assert left == (("decided",), 0)
    assert columns(conn, case, "id") is None


def test_erasing_somebody_who_uses_a_mailed_link_waits_for_it_and_not_it_for_the_erasure(sessions):
    first, second = sessions.first, sessions.second
    he = one(first, "select auth.create_user('he@uit', 'x', '{}')")
    case = take_down(first, he)
    first.execute("select public.point_case(%s, %s)", [case, he])
    first.commit()
    # What a used link does: first the account, and then the proofs of its profile.
    first.execute("select from auth.users where id = %s for update", [he])
    erasing = sessions.submit(decide, second, case, "erase_person")
    first.execute("update auth.users set email_confirmed_at = now() where id = %s", [he])
    first.commit()

    assert erasing.result() == "person_erased"
