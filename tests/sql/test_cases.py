"""Reports: who may make one, what it hides by itself, what outlives people, what operators do."""

from __future__ import annotations

import hashlib
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from tests.support import build
from tests.support.build import acting, one, refused

ACTOR = "cli:mai"
EXPIRE = """
    select public.delete_expired_rows(d, d, d, d, d, d, %s, %s)
    from (values (interval '99 days')) as long (d)
"""
TOKEN = hashlib.sha256(b"token").digest()


def feed(conn, person):
    with acting(conn, person):
        return [row[0] for row in conn.execute("select profile_id from public.feed_page()")]


def a_pair(conn, seed=0):
    """Write two people who are matched; return (profile, face) of each."""
    she, he = build.a_pair(conn, seed=seed)
    assert build.a_match(conn, she[1]) == 1
    return she, he


def a_witness(conn, seed=0):
    """Write another woman who is matched with him."""
    witness = build.a_profile(conn)
    assert build.a_match(conn, build.a_face(conn, witness, build.unit(seed))) >= 1
    return witness


def report(conn, person, about, reason="harassment", statement=None, face=None):
    with acting(conn, person):
        return one(
            conn,
            "select public.report_profile(%s, %s, %s, %s)",
            *(about, reason, statement, face),
        )


def take_down(conn, subject, reason="not_their_photo", address="a", token=TOKEN):
    case = one(
        conn,
        "select public.request_take_down(%s, %s, 'It is me.', 'encrypted', %s)",
        *(subject, reason, address.encode()),
    )
    conn.execute("select public.create_case_token(%s, %s, interval '1 day')", [case, token])
    return case


def decide(conn, case, act, *, actor=ACTOR, alone=False, face=None):
    return one(
        conn,
        "select decision from public.decide_case(%s, %s, %s, %s, %s)",
        actor,
        case,
        act,
        face,
        alone,
    )


def columns(conn, case, names):
    return conn.execute(f"select {names} from automatch.cases where id = %s", [case]).fetchone()


def is_held(conn, face):
    return one(conn, "select true from automatch.held_faces where face_id = %s", face) is True


def is_frozen(conn, person):
    return one(conn, "select true from automatch.frozen_profiles where profile_id = %s", person)


def own(conn, person):
    with acting(conn, person):
        return conn.execute(
            "select side, state, decision, effect from public.list_own_cases()"
        ).fetchall()


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


HIDE = ("is open", "was decided as hidden", "was closed", "was decided as erased", "was appealed")


def hidden_case(conn, she, he, how):
    case = report(conn, she, he, "not_their_photo")
    act = {"was decided as hidden": "hide", "was closed": "close", "was appealed": "hide"}.get(how)
    if how == "was decided as erased":
        decide(conn, case, "erase_photo")
    elif act:
        decide(conn, case, act)
    if how == "was appealed":
        with acting(conn, he):
            conn.execute("select public.write_to_case(%s, 'It is me.')", [case])
    return case


def send_again(conn, person, face, embedding):
    """Let a person delete a photo and send it once more, as a worker does; its new id."""
    with acting(conn, person):
        if one(conn, "select true from public.faces where id = %s", face):
            conn.execute("select public.delete_face(%s)", [face])
    return send(conn, person, embedding)


def send(conn, person, embedding):
    face = build.a_face(conn, person)
    build.a_job(conn, face)
    job, token = build.claim(conn)
    conn.execute(
        "select public.store_face_embeddings(%s::uuid[], %s::bigint[], %s::vector[], 'dlib',"
        " %s::jsonb[], %s::jsonb[], '{dlib}')",
        [[job], [token], [embedding], [Jsonb({})], [Jsonb({})]],
    )
    build.complete(conn, job, token)
    return face


@pytest.mark.parametrize("how", HIDE)
def test_hidden_photo_that_is_deleted_and_sent_again_stays_hidden_and_is_in_the_case(conn, how):
    (she, _), (he, his_face) = a_pair(conn)
    witness = a_witness(conn)
    case = hidden_case(conn, she, he, how)

    again = send_again(conn, he, his_face, build.unit(0))

    assert is_held(conn, again)
    assert feed(conn, witness) == []
    assert columns(conn, case, "state, face_id") == ("open", again)
    listed = conn.execute("select id, hides, face_id from public.list_cases()").fetchall()
    assert listed == [(case, True, again)]
    job = "select error_code from public.match_jobs where face_id = %s"
    assert one(conn, job, again) == "photo_in_review"


def test_photos_that_were_sent_since_come_back_when_the_case_is_dismissed(conn):
    (she, _), (he, his_face) = a_pair(conn)
    case = report(conn, she, he, "not_their_photo")
    faces = [his_face, *(send(conn, he, build.like(build.unit(0), 0.98, seed=n)) for n in (1, 2))]
    assert [is_held(conn, face) for face in faces] == [True] * 3
    assert columns(conn, case, "face_id") == (his_face,)
    decide(conn, case, "dismiss")

    assert [is_held(conn, face) for face in faces] == [False] * 3
    assert not is_held(conn, send(conn, he, build.like(build.unit(0), 0.98, seed=3)))


def test_photos_wait_as_long_as_any_case_hides_one(conn):
    (she, _), (he, his_face) = a_pair(conn)
    witness = a_witness(conn)
    first = report(conn, she, he, "not_their_photo")
    second = report(conn, witness, he, "fake")
    decide(conn, second, "hide", face=his_face)
    again = send_again(conn, he, his_face, build.unit(0))
    conn.execute(
        "update public.faces set created_at = created_at + interval '1 s' where id = %s", [again]
    )
    decide(conn, first, "dismiss")

    assert is_held(conn, again)
    decide(conn, second, "dismiss")
    assert not is_held(conn, again)


@pytest.mark.parametrize("how", ["harassment", "under_18", "dismissed", "a year ago"])
def test_new_photo_does_not_wait_for_a_case_that_hides_none(conn, how):
    (she, _), (he, his_face) = a_pair(conn)
    reason = how if how in ("harassment", "under_18") else "not_their_photo"
    case = report(conn, she, he, reason)
    if how == "a year ago":
        decide(conn, case, "hide")
        conn.execute("update automatch.cases set decided_at = decided_at - interval '366 days'")
    elif how == "dismissed":
        decide(conn, case, how.removesuffix("ed"))

    assert not is_held(conn, send_again(conn, he, his_face, build.unit(0)))


def test_case_whose_photo_was_deleted_is_listed_as_one_that_hides_nothing(conn):
    (she, _), (he, his_face) = a_pair(conn)
    report(conn, she, he, "not_their_photo")
    with acting(conn, he):
        conn.execute("select public.delete_face(%s)", [his_face])

    assert conn.execute("select hides, face_id from public.list_cases()").fetchall() == [
        (False, None)
    ]
