"""Photos that wait: somebody else than before, or the person of another account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from tests.support import build
from tests.support.build import acting, claim_some, one, refused, unit
from tests.support.duplicates import FAR, NEAR, apart
from tests.support.held_photos import (
    accepted,
    decide_photo,
    found,
    held,
    hold,
    run,
    send,
    store,
    told,
)

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _held_by_default(conn):
    hold(conn)


@pytest.mark.parametrize(("u", "waits"), [(FAR - 0.01, False), (FAR + 0.01, True)])
def test_further_photo_is_of_the_person_of_the_first_one_or_waits(conn, u, waits):
    she, he = build.a_profile(conn), build.a_profile(conn, gender="male")
    first = accepted(conn, she, unit(0))
    other = apart(unit(0), u)
    accepted(conn, he, apart(other, 0.45, seed=7))
    second = send(conn, she)

    assert run(conn, {second: other}) == {second: None if waits else 1}
    assert held(conn) == ({second: "another_person"} if waits else {})
    assert told(conn, second) == ("another_person" if waits else "completed")
    assert (second in found(conn)) != waits
    assert first in found(conn)


def test_two_photos_in_one_batch_are_compared_with_each_other(conn):
    she = build.a_profile(conn)
    first, second = send(conn, she), send(conn, she)
    conn.execute(
        "update public.faces set created_at = created_at + interval '1 s' where id = %s", [second]
    )
    run(conn, {first: unit(0), second: unit(1)})

    assert held(conn) == {second: "another_person"}


def test_photos_of_one_person_or_one_face_that_are_stored_at_once_do_not_both_pass(sessions):
    conn = sessions.first
    hold(conn)
    she, he = build.a_profile(conn), build.a_profile(conn, gender="male")
    faces = {send(conn, she): unit(0), send(conn, she): unit(1), send(conn, he): unit(0)}
    jobs = [
        {job: (one(conn, "select face_id from public.match_jobs where id = %s", job), token)}
        for job, token in claim_some(conn, 50)
    ]
    conn.commit()
    store(conn, jobs[0], faces)
    waiting = [
        sessions.submit(lambda other, mine: store(other, mine, faces), session, mine)
        for session, mine in zip((sessions.second, sessions.third), jobs[1:], strict=True)
    ]
    conn.commit()
    for session, store_call in zip((sessions.second, sessions.third), waiting, strict=True):
        store_call.result(60)
        session.commit()

    assert len(held(sessions.watcher)) == 2


def test_reference_is_the_oldest_photo_that_is_left_and_does_not_wait(conn):
    she = build.a_profile(conn)
    first = accepted(conn, she, unit(0))
    second = accepted(conn, she, apart(unit(0), 0.3))
    stranger = send(conn, she)
    run(conn, {stranger: unit(9)})
    conn.execute("delete from public.faces where id = %s", [first])
    third = send(conn, she)
    run(conn, {third: apart(apart(unit(0), 0.3), 0.3, seed=5)})

    assert held(conn) == {stranger: "another_person"}
    assert {second, third} <= found(conn)


def delete_own(conn, person, face):
    with acting(conn, person):
        conn.execute("select public.delete_face(%s)", [face])


def wrong_first(conn):
    """Return somebody with a photo of somebody else, and with an own one that waits for it."""
    she = build.a_profile(conn)
    wrong, right = accepted(conn, she, unit(0)), send(conn, she)
    run(conn, {right: unit(1)})
    assert held(conn) == {right: "another_person"}
    return she, wrong, right


def test_deleting_the_wrong_first_photo_lets_the_right_one_be_found_and_searched_for(conn):
    he = build.a_profile(conn, gender="male")
    accepted(conn, he, apart(unit(1), 0.45, seed=7))
    she, wrong, right = wrong_first(conn)
    stranger, more = send(conn, she), send(conn, she)
    run(conn, {stranger: unit(2), more: apart(unit(1), 0.2)})
    searches = one(conn, "select count(*) from automatch.photo_searches")
    delete_own(conn, she, wrong)

    assert held(conn) == {stranger: "another_person"}
    assert {right, more} <= found(conn)
    assert set(run(conn, {})) == {right, more}
    assert (told(conn, right), told(conn, stranger)) == ("completed", "another_person")
    assert one(conn, "select count(*) from public.matches") > 0
    assert one(conn, "select count(*) from automatch.photo_searches") == searches


@pytest.mark.parametrize("why", ["another_account", "challenge", "reported"])
def test_photo_that_becomes_the_first_by_a_deletion_meets_what_every_first_photo_meets(conn, why):
    she, wrong, right = wrong_first(conn)
    if why == "another_account":
        accepted(conn, build.a_profile(conn), unit(1))
    elif why == "challenge":
        conn.execute("update public.faces set needs_challenge = true where id = %s", [right])
    else:
        conn.execute(
            "insert into automatch.cases (kind, reason, profile_id, hides)"
            " values ('report', 'not_their_photo', %s, true)",
            [she],
        )
    delete_own(conn, she, wrong)

    assert held(conn)[right] == why
    assert right not in found(conn)
    assert run(conn, {}).get(right) is None
    assert told(conn, right) == ("challenge_needed" if why == "challenge" else "photo_in_review")


def test_photo_that_becomes_the_first_sees_one_that_is_stored_at_the_same_time(sessions):
    conn = sessions.first
    hold(conn)
    she, wrong, right = wrong_first(conn)
    other = send(conn, build.a_profile(conn))
    [(job, token)] = claim_some(conn, 1)
    conn.commit()
    store(conn, {job: (other, token)}, {other: unit(1)})
    deletion = sessions.submit(delete_own, sessions.second, she, wrong)
    conn.commit()
    deletion.result(60)
    sessions.second.commit()

    assert held(sessions.watcher) == {right: "another_account"}


def test_deleting_photos_lets_no_other_person_pass_while_one_is_left(conn):
    she = build.a_profile(conn)
    first, second = accepted(conn, she, unit(0)), accepted(conn, she, apart(unit(0), 0.2))
    stranger, refused_one = send(conn, she), send(conn, she)
    run(conn, {stranger: unit(1), refused_one: unit(1)})
    decide_photo(conn, refused_one, False)
    delete_own(conn, she, first)
    assert held(conn) == {stranger: "another_person", refused_one: "refused"}

    conn.execute(
        "update automatch.held_faces set reason = 'another_account', lost_pair = true"
        " where face_id = %s",
        [stranger],
    )
    delete_own(conn, she, second)
    assert held(conn) == {stranger: "another_account", refused_one: "refused"}
    assert found(conn) == set()


@pytest.mark.parametrize(
    ("gender", "u", "waits"),
    [
        ("male", FAR - 0.002, True),
        ("male", FAR + 0.002, False),
        ("female", NEAR - 0.002, True),
        ("female", NEAR + 0.002, False),
    ],
)
def test_first_photo_that_looks_like_another_account_waits_before_it_matches(
    conn, gender, u, waits
):
    she, other = build.a_profile(conn), build.a_profile(conn, gender=gender)
    hers = accepted(conn, she, unit(0))
    photo = send(conn, other)
    run(conn, {photo: apart(unit(0), u)})

    assert held(conn) == ({photo: "another_account"} if waits else {})
    # Nothing tells who else is here.
    assert told(conn, photo) == ("photo_in_review" if waits else "completed")
    assert one(conn, "select count(*) from public.matches") == (
        0 if waits or gender == "female" else 1
    )
    assert found(conn) == ({hers} if waits else {hers, photo})
    assert one(conn, "select count(*) from automatch.suspected_duplicates") == waits


def hide(conn, face, person, how):
    if how in ("reported", "hidden"):
        conn.execute("select automatch.hold_face(%s, %s)", [face, how])
    elif how == "frozen":
        conn.execute("select public.freeze_person(%s, 'moderation')", [person])
    elif how == "settling":
        conn.execute("insert into automatch.settling_profiles values (%s, 'infinity')", [person])
    else:
        conn.execute("update public.profiles set discoverable = false where id = %s", [person])


@pytest.mark.parametrize("how", ["reported", "hidden", "paused", "frozen", "settling"])
@pytest.mark.parametrize(
    ("gender", "u", "waits"),
    [("male", FAR - 0.002, True), ("male", FAR + 0.002, False), ("female", NEAR + 0.002, False)],
)
def test_face_of_an_account_that_cannot_be_found_now_waits_like_any_other(
    conn, how, gender, u, waits
):
    she, other = build.a_profile(conn), build.a_profile(conn, gender=gender)
    hide(conn, accepted(conn, she, unit(0)), she, how)
    photo = send(conn, other)
    run(conn, {photo: apart(unit(0), u)})

    assert (held(conn).get(photo) == "another_account") == waits
    assert told(conn, photo) == ("photo_in_review" if waits else "completed")
    assert one(conn, "select count(*) from automatch.suspected_duplicates") == waits


@pytest.mark.parametrize("why", ["no proof", "waits itself", "other school"])
def test_photo_that_nobody_let_pass_keeps_nobody_waiting(conn, why):
    she, other = build.a_profile(conn), build.a_profile(conn)
    photo = accepted(conn, she, unit(0))
    if why == "waits itself":
        conn.execute("select automatch.hold_face(%s, 'challenge')", [photo])
    elif why == "other school":
        conn.execute("update public.profiles set school = 'HCMUS' where id = %s", [she])
    else:
        conn.execute("update automatch.schools set is_open = false where name = 'UIT'")
        prove(conn, other)
    hide(conn, photo, she, "paused")

    accepted(conn, other, unit(0))


def test_two_accounts_that_send_one_face_in_one_batch_do_not_match(conn):
    people = [build.a_profile(conn, gender=gender) for gender in ("female", "male")]
    faces = [send(conn, person) for person in people]
    run(conn, dict.fromkeys(faces, unit(0)))

    assert list(held(conn).values()) == ["another_account"]
    assert one(conn, "select count(*) from public.matches") == 0


def test_photo_that_waits_is_listed_with_its_reason_and_counts_as_a_search(conn):
    she = build.a_profile(conn)
    accepted(conn, she, unit(0))
    face = uuid4()
    with acting(conn, she):
        conn.execute(
            "select public.record_upload(%(id)s, left(%(id)s::text, 2) || '/' || %(id)s,"
            " repeat('1', 64))",
            {"id": face},
        )
    run(conn, {face: unit(1)})

    listed = conn.execute("select face_id, profile_id, reason from public.list_held_photos()")
    assert listed.fetchall() == [(face, she, "another_person")]
    assert one(conn, "select count(*) from automatch.photo_searches") == 1


def test_job_of_a_photo_that_waits_is_kept_to_say_so(conn):
    she = build.a_profile(conn)
    accepted(conn, she, unit(0))
    photo = send(conn, she)
    run(conn, {photo: unit(1)})
    conn.execute(
        "update public.match_jobs set created_at = %s, completed_at = %s",
        [NOON - timedelta(days=800)] * 2,
    )
    conn.execute("select public.cleanup_old_match_jobs()")

    assert conn.execute("select face_id from public.match_jobs").fetchall() == [(photo,)]


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        ({"another_person": False}, ["another_account"]),
        ({"another_account": "never"}, ["another_person"]),
        # Of a new installation: the school is open.
        ({"another_account": "proven"}, ["another_person"]),
    ],
)
def test_each_check_can_be_switched_off(conn, settings, reasons):
    hold(conn, **settings)
    she, other = build.a_profile(conn), build.a_profile(conn)
    accepted(conn, she, unit(0))
    run(conn, {send(conn, she): unit(1), send(conn, other): unit(0)})

    assert list(held(conn).values()) == reasons


def prove(conn, person, school="UIT"):
    conn.execute(
        "insert into automatch.memberships (profile_id, school_id, proof)"
        " select %s, id, 'approval' from automatch.schools where name = %s",
        [person, school],
    )


def test_face_of_another_account_waits_by_default_where_a_proof_is_asked_for(conn):
    hold(conn, another_account="proven")
    people = [build.a_profile(conn), build.a_profile(conn)]
    conn.execute("update automatch.schools set is_open = false")
    for person in people:
        prove(conn, person)
    accepted(conn, people[0], unit(0))
    photo = send(conn, people[1])
    run(conn, {photo: unit(0)})

    assert held(conn) == {photo: "another_account"}


@pytest.mark.parametrize("comes", ["from another school", "with a proof"])
def test_face_that_comes_to_a_school_of_another_account_waits_before_it_matches(conn, comes):
    she, he = build.a_profile(conn), build.a_profile(conn, school="HCMUS", gender="male")
    accepted(conn, she, unit(0))
    photo = accepted(conn, he, unit(0))
    if comes == "with a proof":
        hold(conn, another_account="never")
        conn.execute("update public.profiles set school = 'UIT' where id = %s", [he])
        prove(conn, she)
        conn.execute("update automatch.schools set is_open = false where name = 'UIT'")
        hold(conn)
        prove(conn, he)
    else:
        conn.execute("update public.profiles set school = 'UIT' where id = %s", [he])

    assert held(conn) == {photo: "another_account"}
    assert photo not in found(conn)
    run(conn, {})
    assert told(conn, photo) == "photo_in_review"
    assert one(conn, "select count(*) from public.matches") == 0


def test_whoever_comes_to_a_school_and_waits_there_is_told_on_open_pages(sessions):
    conn = sessions.first
    hold(conn)
    she, he = build.a_profile(conn), build.a_profile(conn, school="HCMUS", gender="male")
    accepted(conn, she, unit(0))
    photo, blurred = accepted(conn, he, unit(0)), send(conn, he)
    [(job, token)] = claim_some(conn, 1)
    conn.execute("select public.fail_match_jobs(%s, %s, '{no_face}', '{None.}')", [[job], [token]])
    conn.commit()
    sessions.watcher.execute("listen automatch_feed")
    conn.execute("update public.profiles set school = 'UIT' where id = %s", [he])
    conn.commit()

    assert [*sessions.watcher.notifies(timeout=60, stop_after=1)]
    assert (told(conn, photo), told(conn, blurred)) == ("photo_in_review", "no_face")


def test_simulated_people_never_wait(conn):
    accepted(conn, build.a_profile(conn), unit(0))
    simulated = build.a_profile(conn)
    conn.execute("update public.profiles set simulated = true where id = %s", [simulated])
    photos = {send(conn, simulated): unit(0), send(conn, simulated): unit(1)}
    run(conn, photos)

    assert held(conn) == {}


def test_login_of_the_worker_does_not_decide(rows_database):
    with (
        build.connect(rows_database.worker) as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        decide_photo(conn, uuid4(), True)


def test_photo_that_waits_is_found_and_so_is_the_first_of_its_account(conn):
    person = build.a_profile(conn)
    first, waiting = build.a_face(conn, person), build.a_face(conn, person)
    with refused("not_found"), conn.transaction():
        conn.execute("select public.open_held_photo(%s)", [first])
    conn.execute("select automatch.hold_face(%s, 'another_person')", [waiting])

    shown = [one(conn, "select public.open_held_photo(%s)", of) for of in (waiting, person)]

    assert shown[0].endswith(str(waiting))
    assert shown[1].endswith(str(first))
    with acting(conn, person):
        days = one(conn, "select operator_days_this_month from public.count_photo_views()")
    assert days == 1


def test_photo_that_a_report_hides_is_shown_by_its_case_alone(conn):
    person = build.a_profile(conn)
    face = build.a_face(conn, person)
    conn.execute("select automatch.hold_face(%s, 'reported')", [face])

    with refused("not_found"):
        conn.execute("select public.open_held_photo(%s)", [face])
