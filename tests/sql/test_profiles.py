"""What people tell about themselves: age, school and its spelling, and what a change does."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest

from tests.support import build
from tests.support.build import acting, one, refused

NOVEMBER_23 = datetime(2026, 11, 23, 12, tzinfo=UTC)


def save(conn, person, *, name="Person", school="UIT", gender="male", birth_date="2000-01-01"):
    with acting(conn, person):
        conn.execute(
            "select public.save_profile(%s, %s, %s, %s)", [name, school, gender, birth_date]
        )


def school_of(conn, person):
    return one(conn, "select school from public.profiles where id = %s", person)


@pytest.mark.parametrize("birth_date", ["2008-11-24", "2020-01-01", "infinity"])
@pytest.mark.parametrize("by_the_owner", [False, True])
def test_nobody_under_18_whoever_writes(conn, birth_date, by_the_owner):
    build.set_clock(conn, NOVEMBER_23)
    person = build.a_profile(conn)
    with refused("age_not_allowed"):
        if by_the_owner:
            conn.execute("update public.profiles set birth_date = %s", [birth_date])
        else:
            save(conn, person, birth_date=birth_date)


@pytest.mark.parametrize(
    ("today", "birth_date"),
    [
        (NOVEMBER_23, "2008-11-23"),
        (datetime(2026, 3, 1, tzinfo=UTC), "2008-02-29"),
    ],
)
def test_18th_birthday_is_old_enough(conn, today, birth_date):
    build.set_clock(conn, today)
    save(conn, build.a_profile(conn), birth_date=birth_date)


@pytest.mark.parametrize("birth_date", ["1899-12-31", "-infinity"])
def test_birth_date_of_nobody_alive_is_refused(conn, birth_date):
    with refused("input_invalid"):
        save(conn, build.a_profile(conn), birth_date=birth_date)


def test_birth_date_cannot_be_taken_away(conn):
    with refused("input_invalid"):
        save(conn, build.a_profile(conn), birth_date=None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gender": "other"},
        {"gender": "Male"},
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 81},
    ],
    ids=str,
)
def test_value_that_means_nothing_is_refused(conn, wrong):
    with pytest.raises(psycopg.errors.CheckViolation):
        save(conn, build.a_profile(conn), **wrong)


@pytest.mark.parametrize("unknown", ["", " \t ", "x" * 121, "Not on the list"])
def test_school_that_is_not_on_the_list_is_refused(conn, unknown):
    with refused("school_unknown"):
        save(conn, build.a_profile(conn), school=unknown)


def test_school_gets_the_name_of_the_list_whatever_its_spelling(conn):
    person = build.a_profile(conn, school=None)
    save(conn, person, school=" \uff55it ")

    assert school_of(conn, person) == "UIT"


def test_saving_changes_ones_own_profile_only(conn):
    me, other = build.a_profile(conn), build.a_profile(conn)
    save(conn, me, name="Changed")

    assert one(conn, "select name from public.profiles where id = %s", other) == "Person"


def test_who_was_erased_cannot_save(conn):
    with refused("profile_not_found"):
        save(conn, uuid4())


def test_newcomers_see_the_names_on_the_list_and_no_school_of_a_smoke_test(conn):
    conn.execute("select * from public.start_smoke_test()")
    for school in ("Đại học B", "a school", "A hidden one"):
        conn.execute("insert into automatch.schools (name) values (%s)", [school])
    conn.execute("delete from automatch.schools where name = 'A hidden one'")
    with acting(conn, build.a_profile(conn, school=None)):
        listed = conn.execute("select school from public.list_schools()").fetchall()

    assert listed == [("a school",), ("UIT",), ("Đại học B",)]


def index_row(conn, face):
    return conn.execute(
        "select school, gender from public.face_index where model = 'dlib' and face_id = %s", [face]
    ).fetchone()


def test_search_copy_follows_a_move_in_one_statement(conn):
    person = build.a_profile(conn)
    face = build.a_face(conn, person, build.unit(1))
    for school in ("HCMUS", "BKU", "UIT"):
        conn.execute("update public.profiles set school = %s, gender = 'male'", [school])
        assert index_row(conn, face) == (school, "male")


@pytest.mark.parametrize(
    "change",
    [
        "discoverable = false",
        "profile_type = 'celebrity'",
        "school = null",
        "gender = null",
        "discoverable = false, school = 'HCMUS'",
    ],
)
def test_who_cannot_be_found_leaves_the_search_copy_and_comes_back(conn, change):
    person = build.a_profile(conn)
    face = build.a_face(conn, person, build.unit(1))
    conn.execute(f"update public.profiles set {change}")
    assert index_row(conn, face) is None

    conn.execute(
        "update public.profiles set discoverable = true, profile_type = 'user',"
        " school = 'UIT', gender = 'female'"
    )
    assert index_row(conn, face) == ("UIT", "female")


def test_face_of_another_model_is_not_in_the_search_copy_of_the_one_in_use(conn):
    build.a_model(conn, "other")
    face = build.a_face(conn, build.a_profile(conn), build.unit(1), model="other")

    assert index_row(conn, face) is None


@pytest.mark.parametrize("pausing_first", [True, False])
def test_pausing_while_a_photo_is_seen_never_leaves_it_to_be_found(sessions, pausing_first):
    first, second = sessions.first, sessions.second
    build.a_job(first, build.a_face(first, build.a_profile(first)))
    job, token = build.claim(first)
    first.commit()

    def pause(conn):
        conn.execute("update public.profiles set discoverable = false")

    def store(conn):
        conn.execute(
            "select count(*) = 1 from public.store_face_embeddings("
            "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
            " array['{}']::jsonb[], array['{}']::jsonb[])",
            [job, token, build.unit(1)],
        )

    before, after = (pause, store) if pausing_first else (store, pause)
    before(first)
    waiting = sessions.submit(after, second)
    first.commit()
    waiting.result()
    second.commit()

    assert one(second, "select exists (select from public.face_embeddings)")
    assert one(second, "select count(*) from public.face_index") == 0


def test_who_signs_up_has_a_profile_and_who_is_deleted_there_is_erased_here(conn):
    account = one(conn, "select auth.create_user('Person@Example.org', 'x', '{}')")
    assert one(conn, "select email from public.profiles where id = %s", account) == (
        "person@example.org"
    )
    assert one(conn, "select auth.create_user('PERSON@example.org', 'x', '{}')") is None

    conn.execute("delete from auth.users")
    assert one(conn, "select count(*) from public.profiles") == 0
