"""First photos that wait until their person has turned their head before the camera."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.sql.test_held_photos import accepted, apart, found, held, hold, run, send, told
from tests.support import build
from tests.support.build import one, refused, unit

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
SESSION = "4e9d"


@pytest.fixture(autouse=True)
def _held_by_default(conn):
    hold(conn)


def send_first(conn, person, embedding):
    """Send a photo that needs a challenge, and have it analyzed; its id."""
    photo = send(conn, person)
    conn.execute("update public.faces set needs_challenge = true where id = %s", [photo])
    run(conn, {photo: embedding})
    return photo


def begin(conn, person, photo, session=SESSION):
    return conn.execute(
        "select id, turns from public.begin_photo_challenge(%s, %s, %s)", [person, session, photo]
    ).fetchone()


def take(conn, person, photo, challenge, session=SESSION):
    return one(
        conn,
        "select public.take_photo_challenge(%s, %s, %s, %s)",
        *(person, session, photo, challenge),
    )


def passes(conn, person, photo, *embeddings):
    return one(
        conn,
        "select public.pass_photo_challenge(%s, %s, 'dlib', %s::vector[])",
        *(person, photo, list(embeddings)),
    )


def test_first_photo_waits_and_is_searched_for_once_its_person_was_seen(conn):
    she = build.a_profile(conn)
    photo = send_first(conn, she, unit(0))
    assert (held(conn), told(conn, photo)) == ({photo: "challenge"}, "challenge_needed")
    near = [apart(unit(0), 0.3, seed=seed) for seed in range(4)]
    assert not passes(conn, she, photo, *near, apart(unit(0), 0.4))
    assert not passes(conn, she, photo)
    assert held(conn) == {photo: "challenge"}

    assert passes(conn, she, photo, *near)
    assert run(conn, {}) == {photo: 0}
    assert found(conn) == {photo}
    with refused("not_found"), conn.transaction():
        passes(conn, she, photo, *near)


def test_further_photo_needs_no_challenge(conn):
    she = build.a_profile(conn)
    accepted(conn, she, unit(0))
    send_first(conn, she, unit(0))

    assert held(conn) == {}


def test_face_of_another_account_goes_on_waiting_after_the_challenge(conn):
    accepted(conn, build.a_profile(conn), unit(0))
    she = build.a_profile(conn)
    photo = send_first(conn, she, unit(0))
    assert passes(conn, she, photo, unit(0))

    assert held(conn) == {photo: "another_account"}
    assert told(conn, photo) == "photo_in_review"
    assert one(conn, "select count(*) from automatch.suspected_duplicates") == 1


def test_challenge_is_taken_once_by_its_session_and_in_its_time(conn):
    she, other = build.a_profile(conn), build.a_profile(conn)
    photo = send_first(conn, she, unit(0))
    for seconds, person, session, is_taken in (
        (1, she, SESSION, False),
        (121, she, SESSION, False),
        (5, she, "another", False),
        (5, other, SESSION, False),
        (5, she, SESSION, True),
    ):
        build.set_clock(conn, NOON)
        challenge, turns = begin(conn, she, photo)
        build.set_clock(conn, NOON + timedelta(seconds=seconds))
        assert take(conn, person, photo, challenge, session) == (turns if is_taken else None)
    assert take(conn, she, photo, challenge) is None
    assert sorted(set(turns)) == ["left", "right"]


def test_only_the_owner_of_a_photo_that_waits_is_challenged(conn):
    she, other = build.a_profile(conn), build.a_profile(conn)
    photo = send_first(conn, she, unit(0))
    for person, face in ((other, photo), (she, uuid4())):
        with refused("not_found"), conn.transaction():
            begin(conn, person, face)
