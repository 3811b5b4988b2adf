"""Two accounts of one person: who is suspected, and when photos are compared."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

from tests.support import build
from tests.support.build import connect, one
from tests.support.duplicates import FAR, NEAR, a_person, apart, look, pairs


@pytest.mark.parametrize(
    ("gender", "u", "is_suspected"),
    [
        ("male", FAR - 0.002, True),
        ("male", FAR + 0.002, False),
        ("female", NEAR - 0.002, True),
        ("female", NEAR + 0.002, False),
        ("female", FAR - 0.002, False),
        ("female", 0.0, True),
    ],
)
def test_accounts_closer_than_the_bound_of_the_model_are_suspected(conn, gender, u, is_suspected):
    first = a_person(conn, build.unit(0))
    second = a_person(conn, apart(build.unit(0), u), gender)
    assert look(conn) == (2, is_suspected)
    found = pairs(conn)

    assert set(found) == ({frozenset((first, second))} if is_suspected else set())
    for distance, state in found.values():
        assert distance == pytest.approx(u, abs=2e-3)
        assert state == "open"


def test_bounds_are_those_of_the_models_row(conn):
    conn.execute(
        "update public.embedding_models set same_person_u = 0.5, same_person_same_gender_u = null"
        " where id = 'dlib'"
    )
    a_person(conn, build.unit(0))
    a_person(conn, apart(build.unit(0), 0.49))

    assert look(conn) == (2, 1)


def test_suspicions_are_those_of_an_oracle(conn):
    rng = np.random.default_rng(7)
    people = {}
    for number in range(60):
        center = build.unit(number // 3)
        vector = apart(center, rng.uniform(0, 0.4), seed=number)
        gender = ("female", "male")[int(rng.integers(2))]
        people[a_person(conn, vector, gender)] = (vector.astype(np.float64), gender)
    expected = set()
    for one_id, (a, first) in people.items():
        for other_id, (b, second) in people.items():
            u = np.sqrt(max(2 - 2 * float(a @ b), 0))
            if one_id != other_id and u <= (NEAR if first == second else FAR):
                expected.add(frozenset((one_id, other_id)))
    checked, flagged = look(conn)

    assert (checked, flagged) == (60, len(expected))
    assert set(pairs(conn)) == expected
    assert len(expected) > 10


def test_nobody_outside_the_school_of_simulated_or_who_cannot_be_found_is_suspected(conn):
    center = build.unit(0)
    a_person(conn, center)
    a_person(conn, center, school="HCMUS")
    a_person(conn, center, discoverable=False)
    a_person(conn, center, profile_type="celebrity")
    simulated = build.a_profile(conn)
    conn.execute("update public.profiles set simulated = true where id = %s", [simulated])
    build.a_face(conn, simulated, center)
    look(conn)

    assert pairs(conn) == {}


def test_two_photos_of_one_account_are_no_suspicion(conn):
    person = a_person(conn, build.unit(0))
    build.a_face(conn, person, build.unit(0))

    assert look(conn) == (2, 0)


def test_pair_is_one_row_with_its_closest_photos_whatever_their_number(conn):
    first = a_person(conn, build.unit(0))
    build.a_face(conn, first, build.unit(1))
    second = a_person(conn, apart(build.unit(0), 0.3))
    look(conn)
    assert pairs(conn)[frozenset((first, second))][0] == pytest.approx(0.3, abs=1e-3)
    build.a_face(conn, second, apart(build.unit(1), 0.1))
    assert look(conn) == (1, 0)

    assert pairs(conn)[frozenset((first, second))][0] == pytest.approx(0.1, abs=1e-3)


def test_one_photo_makes_five_suspicions_at_most_and_the_closest(conn):
    center = build.unit(0)
    others = [a_person(conn, apart(center, 0.01 * n, seed=n), "male") for n in range(1, 9)]
    look(conn)
    conn.execute("delete from automatch.suspected_duplicates")
    person = a_person(conn, center)
    look(conn)

    assert set(pairs(conn)) == {frozenset((person, other)) for other in others[:5]}


@pytest.mark.parametrize(
    "change",
    [
        "update public.profiles set school = 'UIT' where id = %s",
        "update public.profiles set discoverable = true where id = %s",
    ],
)
def test_whoever_comes_to_a_school_or_ends_a_pause_is_compared_then(conn, change):
    first = a_person(conn, build.unit(0))
    away = "school" in change
    second = a_person(conn, build.unit(0), school="HCMUS" if away else "UIT", discoverable=away)
    look(conn)
    assert pairs(conn) == {}
    conn.execute(change, [second])
    # Searching again for them goes first.
    assert look(conn) == (0, 0)
    build.complete(conn, *build.claim(conn))
    assert look(conn) == (1, 1)

    assert set(pairs(conn)) == {frozenset((first, second))}


def test_nothing_is_compared_while_a_job_waits_for_its_turn(conn):
    person = a_person(conn, build.unit(0))
    a_person(conn, build.unit(0))
    job = build.a_job(conn, build.a_face(conn, person))
    assert look(conn) == (0, 0)
    conn.execute("select public.pause_match_jobs('UIT')")
    # A job of a paused school may wait for days.
    assert look(conn) == (2, 1)

    assert one(conn, "select status from public.match_jobs where id = %s", job) == "pending"


def test_only_so_many_photos_are_compared_at_once_and_the_rest_later(conn):
    for number in range(5):
        a_person(conn, build.unit(number))

    assert [look(conn, 2)[0] for _ in range(4)] == [2, 2, 1, 0]


def test_suspicion_goes_with_the_account_the_consent_and_the_last_photo(conn):
    center = build.unit(0)
    for number, leaving in enumerate(
        [
            lambda person, _: conn.execute("delete from public.profiles where id = %s", [person]),
            lambda person, _: build.record_consent(conn, person, "withdrawn"),
            lambda _, faces: conn.execute("delete from public.faces where id = any (%s)", [faces]),
        ]
    ):
        school = f"School {number}"
        person = a_person(conn, center, school=school)
        faces = [one(conn, "select id from public.faces where profile_id = %s", person)]
        faces.append(build.a_face(conn, person, build.unit(5)))
        other = a_person(conn, center, school=school)
        look(conn)
        assert frozenset((person, other)) in pairs(conn)
        conn.execute("delete from public.faces where id = %s", [faces.pop()])
        assert frozenset((person, other)) in pairs(conn)
        leaving(person, faces)

        assert pairs(conn) == {}
        conn.execute("delete from public.profiles where id = any (%s)", [[person, other]])


def test_table_refuses_what_contradicts_itself(conn):
    a_person(conn, build.unit(0))
    a_person(conn, build.unit(0))
    look(conn)
    for change in (
        "state = 'confirmed'",
        "decided_at = now()",
        "profile_a_id = profile_b_id",
        "state = 'x', decided_at = now(), decided_by = 'x'",
        "u = -1",
    ):
        with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
            conn.execute(f"update automatch.suspected_duplicates set {change}")


def test_account_that_is_erased_while_it_is_compared_is_waited_for(sessions):
    conn = sessions.first
    first, second = a_person(conn, build.unit(0)), a_person(conn, build.unit(0))
    conn.execute(
        "delete from automatch.duplicate_checks as c using public.faces as f"
        " where f.id = c.face_id and f.profile_id = %s",
        [second],
    )
    conn.commit()
    conn.execute("delete from public.profiles where id = %s", [second])
    waiting = sessions.submit(look, sessions.second)
    conn.commit()

    assert waiting.result(60) == (1, 0)
    sessions.second.commit()
    assert pairs(sessions.watcher) == {}
    assert one(sessions.watcher, "select id from public.profiles") == first


def test_photo_of_whoever_is_being_erased_is_stepped_over(sessions):
    conn = sessions.first
    person = a_person(conn, build.unit(0))
    conn.commit()
    conn.execute("delete from public.profiles where id = %s", [person])

    assert look(sessions.second) == (0, 0)


def test_embedding_that_comes_while_its_photo_is_compared_is_compared_again(sessions):
    conn = sessions.first
    person = a_person(conn, build.unit(0))
    conn.commit()
    assert look(conn) == (1, 0)
    again = sessions.submit(
        lambda other: other.execute("update public.face_embeddings set quality = quality"),
        sessions.second,
    )
    conn.commit()
    again.result(60)
    sessions.second.commit()

    assert one(sessions.watcher, "select count(*) from automatch.duplicate_checks") == 1
    assert person


def test_two_workers_share_the_photos_that_are_to_be_compared(sessions):
    for number in range(4):
        a_person(sessions.first, build.unit(number))
    sessions.first.commit()
    counts = [look(session, 2)[0] for session in (sessions.first, sessions.second, sessions.third)]

    assert counts == [2, 2, 0]


def test_login_of_the_server_lists_and_decides_and_compares_nothing(rows_database):
    with connect(rows_database.api) as conn:
        assert conn.execute("select from public.list_suspected_duplicates()").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            look(conn)
