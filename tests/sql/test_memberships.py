"""Who takes part: members of their school who are not frozen, each seen from both sides."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.support import build
from tests.support.build import acting, one

SCHOOL = "A school that asks for proof"
CENTER = build.unit(0)


@pytest.fixture
def conn(conn):
    """Give a database in which tests do not open schools."""
    conn.execute("alter table public.profiles disable trigger a_school_is_open")
    conn.execute("insert into automatch.schools (name) values (%s)", [SCHOOL])
    return conn


def join(conn, person):
    conn.execute(
        "insert into automatch.memberships (profile_id, school_id, proof)"
        " select %s, s.id, 'approval' from automatch.schools as s where s.name = %s",
        [person, SCHOOL],
    )


def leave(conn, person):
    conn.execute("delete from automatch.memberships where profile_id = %s", [person])


def freeze(conn, person):
    conn.execute("select public.freeze_person(%s, 'reported')", [person])


def unfreeze(conn, person):
    conn.execute("select public.unfreeze_person(%s)", [person])


def two_lookalikes(conn):
    she, he = (build.a_profile(conn, school=SCHOOL, gender=g) for g in ("female", "male"))
    # Not so alike that they would be taken for one person.
    vectors = (CENTER, build.like(CENTER, 0.8))
    faces = [
        build.a_face(conn, who, vector) for who, vector in zip((she, he), vectors, strict=True)
    ]
    return she, he, faces


def search(conn, face):
    return build.a_match(conn, face)


def feed(conn, person):
    with acting(conn, person):
        return [row[0] for row in conn.execute("select profile_id from public.feed_page()")]


def findable(conn, face):
    return one(conn, "select count(*) from public.face_index where face_id = %s", face) == 1


def test_people_without_proof_are_not_found_and_their_search_finds_nobody(conn):
    she, he, (hers, his) = two_lookalikes(conn)
    join(conn, he)

    assert (findable(conn, hers), findable(conn, his)) == (False, True)
    assert search(conn, hers) == 0
    assert search(conn, his) == 0
    with acting(conn, she):
        assert conn.execute(
            "select school, other_gender, findable from public.match_pool()"
        ).fetchone() == (0, 0, 0)


@pytest.mark.parametrize("school", ["A name that is on no list", SCHOOL.upper()])
def test_a_school_that_is_not_on_the_list_admits_nobody(conn, school):
    person = build.a_profile(conn, school=school, gender="female")

    assert not one(conn, "select admitted from public.profiles where id = %s", person)


def test_joining_searches_again_and_leaving_hides_both_from_each_other(conn):
    she, he, (hers, _) = two_lookalikes(conn)
    join(conn, he)
    join(conn, she)

    assert build.complete(conn, *build.claim(conn)) == 1
    assert (feed(conn, she), feed(conn, he)) == ([he], [she])
    leave(conn, she)
    assert (feed(conn, she), feed(conn, he)) == ([], [])
    assert not findable(conn, hers)


def test_a_frozen_person_is_as_one_without_proof_until_unfrozen(conn):
    she, he, (hers, _) = two_lookalikes(conn)
    join(conn, he)
    join(conn, she)
    build.complete(conn, *build.claim(conn))

    freeze(conn, she)
    assert (feed(conn, she), feed(conn, he), findable(conn, hers)) == ([], [], False)
    unfreeze(conn, she)
    assert (feed(conn, she), feed(conn, he), findable(conn, hers)) == ([he], [she], True)


def test_opening_a_school_lets_its_people_in_and_closing_it_out(conn):
    _, _, faces = two_lookalikes(conn)

    conn.execute("update automatch.schools set is_open = true where name = %s", [SCHOOL])
    assert [findable(conn, face) for face in faces] == [True, True]
    conn.execute("update automatch.schools set is_open = false where name = %s", [SCHOOL])
    assert [findable(conn, face) for face in faces] == [False, False]


def test_nobody_admits_themselves_by_writing_the_column(conn):
    person = build.a_profile(conn, school=SCHOOL, gender="female")

    conn.execute("update public.profiles set admitted = true where id = %s", [person])

    assert not one(conn, "select admitted from public.profiles where id = %s", person)


def test_freezing_somebody_who_does_not_exist_is_an_error(conn):
    with build.refused("not_found"):
        freeze(conn, uuid4())


def freeze_all(conn, people):
    conn.execute(
        "insert into automatch.frozen_profiles (profile_id, reason) select unnest(%s), 'reported'",
        [people],
    )


def merge(conn, people):
    conn.execute("select public.merge_schools('UIT', %s, %s)", [SCHOOL, len(people)])


def refresh_proofs(conn, people):
    """Let the first one out, whose address proves nothing, and the other one in."""
    conn.execute("select automatch.refresh_email_proofs(%s)", [people])


def ask_for_proofs(conn, out, into, last):
    conn.execute("update automatch.schools set is_open = false where name = 'UIT'")
    conn.execute("insert into automatch.school_domains select 'uit.edu', id from automatch.schools")
    conn.execute(
        "insert into automatch.memberships (profile_id, school_id, proof)"
        " select m.id, s.id, m.proof from automatch.schools as s,"
        " (values (%s, 'email'), (%s, 'approval')) as m (id, proof) where s.name = 'UIT'",
        [out, last],
    )
    conn.execute(
        "insert into auth.users (id, email, encrypted_password, email_confirmed_at)"
        " values (%s, 'she@uit.edu', 'x', now())",
        [into],
    )


@pytest.mark.parametrize("act", [freeze_all, merge, refresh_proofs])
def test_feeds_of_people_who_come_or_go_together_are_locked_as_a_batch_locks_them(sessions, act):
    first, second = sessions.first, sessions.second
    people = sorted(build.a_profile(first) for _ in range(3))
    *moving, last = people
    first.execute("update public.profiles set gender = 'male' where id = %s", [last])
    for seed, person in enumerate(moving):
        build.a_face(first, person, build.like(CENTER, 0.8, seed=seed))
    build.a_match(first, build.a_face(first, last, CENTER))
    first.execute("alter table public.profiles disable trigger a_school_is_open")
    first.execute("select public.add_school(%s)", [SCHOOL])
    if act is refresh_proofs:
        ask_for_proofs(first, *people)
    first.commit()
    for held in moving:
        # The one of them that the other session comes to last.
        first.execute("select automatch.lock_feeds(%s)", [[held]])
        going = sessions.submit(act, second, moving)
        first.execute("select automatch.lock_feeds(%s)", [[held, last]])
        first.commit()
        going.result()
        assert feed(second, last) == (moving[1:] if act is refresh_proofs else [])
        second.rollback()
