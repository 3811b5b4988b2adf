"""Photos that wait: what decides them, by their pair of accounts or by themselves."""

from __future__ import annotations

import pytest

from tests.support import build
from tests.support.build import one, refused, unit
from tests.support.duplicates import NEAR, apart
from tests.support.held_photos import accepted, decide_photo, found, held, hold, run, send, told


@pytest.fixture(autouse=True)
def _held_by_default(conn):
    hold(conn)


def pair(conn):
    return one(conn, "select id from automatch.suspected_duplicates")


def decide_pair(conn, state):
    conn.execute(
        "select public.decide_suspected_duplicate(%s, %s, 'cli:linh')", [pair(conn), state]
    )


def waiting_pair(conn):
    """Return her face, and his that waits because it looks like hers."""
    she, he = build.a_profile(conn), build.a_profile(conn, gender="male")
    hers, his = accepted(conn, she, unit(0)), send(conn, he)
    run(conn, {his: apart(unit(0), 0.1)})
    return hers, his


def test_dismissing_the_pair_releases_the_photo_and_is_remembered(conn):
    hers, his = waiting_pair(conn)
    listed = conn.execute(
        "select held_face_ids from public.list_suspected_duplicates('open', 9, %s)", [pair(conn)]
    ).fetchone()
    assert listed == ([his],)
    decide_pair(conn, "dismissed")
    assert run(conn, {}) == {his: 1}

    assert held(conn) == {}
    assert found(conn) == {hers, his}
    person = one(conn, "select profile_id from public.faces where id = %s", his)
    more = send(conn, person)
    run(conn, {more: apart(unit(0), 0.12, seed=3)})
    assert held(conn) == {}


LEAVING = {
    "last photo": "delete from public.faces where id = %s",
    "account": "delete from public.profiles using public.faces as f"
    " where f.profile_id = profiles.id and f.id = %s",
}


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("decided", ["open", "confirmed"])
def test_photo_goes_on_waiting_when_the_other_account_leaves_until_it_is_decided(
    conn, decided, leaving
):
    hers, his = waiting_pair(conn)
    decide_pair(conn, decided)
    conn.execute(LEAVING[leaving], [hers])
    conn.execute("select public.detect_duplicates()")

    assert held(conn) == {his: "another_account"}
    listed = conn.execute("select face_id from public.list_held_photos()").fetchall()
    assert listed == [(his,)]
    decide_photo(conn, his, True)
    assert held(conn) == {}
    assert run(conn, {}) == {his: 0}


def test_dismissing_one_pair_does_not_stand_for_another_that_has_gone(conn):
    she, other, he = (build.a_profile(conn, gender=sex) for sex in ("female", "female", "male"))
    hers, _ = (
        accepted(conn, she, unit(0)),
        accepted(conn, other, apart(unit(0), NEAR + 0.01, seed=2)),
    )
    his = send(conn, he)
    run(conn, {his: apart(unit(0), 0.1)})
    assert one(conn, "select count(*) from automatch.suspected_duplicates") == 2
    conn.execute("delete from public.faces where id = %s", [hers])
    decide_pair(conn, "dismissed")

    assert held(conn) == {his: "another_account"}


def test_operator_releases_a_photo_and_its_person_sees_it_live(conn):
    she = build.a_profile(conn)
    accepted(conn, she, unit(0))
    photo = send(conn, she)
    run(conn, {photo: unit(1)})
    before = versions(conn, she)
    decide_photo(conn, photo, True)

    assert versions(conn, she) != before
    assert run(conn, {}) == {photo: 0}
    assert told(conn, photo) == "completed"
    with refused("not_found"), conn.transaction():
        decide_photo(conn, photo, True)
    assert one(conn, "select details from automatch.audit_log where action = 'release_photo'") == {
        "photo": str(photo),
        "reason": "another_person",
    }


def versions(conn, person):
    return conn.execute("select jobs_version from public.feed_versions(%s)", [[person]]).fetchone()


def test_refused_photo_loses_its_embedding_and_its_person_is_told_live(conn):
    she = build.a_profile(conn)
    accepted(conn, she, unit(0))
    photo = send(conn, she)
    run(conn, {photo: unit(1)})
    before = versions(conn, she)
    decide_photo(conn, photo, False)

    assert versions(conn, she) != before
    assert told(conn, photo) == "photo_refused"
    assert one(conn, "select count(*) from public.face_embeddings where face_id = %s", photo) == 0
    # Searched for once more, it still waits.
    build.a_job(conn, photo)
    assert run(conn, {photo: unit(1)}) == {photo: None}
    assert told(conn, photo) == "photo_refused"
    assert photo not in found(conn)
