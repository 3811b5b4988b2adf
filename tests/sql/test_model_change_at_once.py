"""A change of the model beside others who are at work in this very moment."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg
import pytest

from tests.support import build
from tests.support.build import Sessions, acting, one, unit
from tests.support.model_change import LONG, begin, finish, keep, retire, roll_back, see_all, take


@pytest.fixture
def faces(sessions: Sessions) -> list:
    """Give two women and two men, each with a face and all committed."""
    conn = sessions.first
    faces = [
        build.a_face(conn, build.a_profile(conn, gender=gender), unit(number))
        for number, gender in enumerate(["female", "male"] * 2)
    ]
    conn.commit()
    return faces


def prepare(conn: psycopg.Connection) -> None:
    begin(conn)
    see_all(conn)
    conn.commit()


def let_wait(conn: psycopg.Connection, step: Callable[..., object]) -> None:
    """Have a step wait for locks as long as it takes this machine to go on with the others."""
    name = f"public.{step.__name__}_model_change"
    text = one(conn, "select pg_get_functiondef(%s::regproc)", name)
    patient, count = re.subn(r"(?<=')(500ms|5s)(?=')", "60s", text)
    assert count
    conn.execute(patient)
    conn.commit()


def model(conn: psycopg.Connection) -> str:
    return one(conn, "select public.active_embedding_model()")


@pytest.mark.parametrize("step", [begin, finish, roll_back])
def test_a_step_does_not_wait_for_whoever_reads_for_long(
    sessions: Sessions, faces: list, step
) -> None:
    if step is not begin:
        prepare(sessions.first)
    if step is roll_back:
        finish(sessions.first)
        sessions.first.commit()
    # A backup, or a query somebody forgot.
    for table in ("faces", "face_embeddings", "face_index"):
        one(sessions.second, f"select count(*) from public.{table}")

    step(sessions.first)
    sessions.first.commit()


@pytest.mark.parametrize("step", [finish, roll_back])
def test_a_step_gives_way_to_whoever_writes_for_long_and_changes_nothing(
    sessions: Sessions, faces: list, step
) -> None:
    prepare(sessions.first)
    if step is roll_back:
        finish(sessions.first)
        sessions.first.commit()
    before = model(sessions.watcher)
    dimensions = 128 if before == "dlib" else LONG
    # Whoever stops in the middle of a job.
    build.embed(sessions.second, faces[0], unit(7, dimensions), model=before)

    with pytest.raises(psycopg.errors.LockNotAvailable):
        step(sessions.first)
    sessions.first.rollback()

    assert model(sessions.watcher) == before
    sessions.second.rollback()
    step(sessions.first)
    sessions.first.commit()


def test_giving_up_gives_way_to_whoever_reads_for_long(sessions: Sessions, faces: list) -> None:
    prepare(sessions.first)
    one(sessions.second, "select count(*) from public.face_index")

    with pytest.raises(psycopg.errors.LockNotAvailable):
        retire(sessions.first)
    sessions.first.rollback()

    sessions.second.rollback()
    assert retire(sessions.first) == "long"


def test_giving_up_waits_for_an_autovacuum_and_lets_people_search_meanwhile(
    sessions: Sessions, faces: list
) -> None:
    prepare(sessions.first)
    let_wait(sessions.first, retire)
    # The mode in which a vacuum holds its table.
    sessions.second.execute("lock table public.face_index in share update exclusive mode")
    retiring = sessions.submit(retire, sessions.first)

    one(sessions.watcher, "select count(*) from public.face_index")
    assert not retiring.done()
    sessions.second.rollback()

    assert retiring.result(60) == "long"


def test_an_upload_waits_for_the_change_and_is_seen_by_the_new_model(
    sessions: Sessions, faces: list
) -> None:
    prepare(sessions.first)
    build.a_job(sessions.first, build.a_face(sessions.first, build.a_profile(sessions.first)))
    sessions.first.commit()
    job, token = build.claim(sessions.second)
    sessions.second.commit()
    finish(sessions.first)

    storing = sessions.submit(
        one,
        sessions.second,
        "select count(*) = 1 from public.store_face_embeddings("
        "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
        " array['{}']::jsonb[], array['{}']::jsonb[])",
        job,
        token,
        unit(5),
    )
    sessions.first.commit()

    assert storing.result(60) is False
    sessions.second.commit()
    assert one(sessions.watcher, "select status from public.match_jobs") == "pending"
    counts = "select count(*) from public.face_embeddings where model = 'dlib'"
    assert one(sessions.watcher, counts) == len(faces)


def test_the_change_waits_for_an_embedding_that_is_being_kept_and_then_is_not_ready(
    sessions: Sessions, faces: list
) -> None:
    prepare(sessions.first)
    build.a_job(sessions.first, build.a_face(sessions.first, build.a_profile(sessions.first)))
    sessions.first.commit()
    job, token = build.claim(sessions.second)
    sessions.second.commit()
    one(
        sessions.second,
        "select count(*) = 1 from public.store_face_embeddings("
        "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
        " array['{}']::jsonb[], array['{}']::jsonb[])",
        *(job, token, unit(5)),
    )
    let_wait(sessions.third, finish)
    finishing = sessions.submit(finish, sessions.first)
    sessions.second.commit()

    with pytest.raises(psycopg.Error, match="Not every photo"):
        finishing.result(60)
    sessions.first.rollback()
    see_all(sessions.first)
    assert finish(sessions.first) == 5


def test_two_workers_take_different_photos(sessions: Sessions, faces: list) -> None:
    begin(sessions.first)
    sessions.first.commit()
    mine = take(sessions.first, 2)
    theirs = sessions.submit(take, sessions.second, 9)
    sessions.first.commit()
    # Each taker comes after the other for a moment, and steps over what that has taken.
    taken = theirs.result(60)
    sessions.second.commit()

    assert len(mine) == 2
    assert set(mine).isdisjoint(taken)
    assert set(mine + taken) == set(faces)


def test_what_is_erased_while_the_new_model_looks_is_kept_nowhere(
    sessions: Sessions, faces: list
) -> None:
    begin(sessions.first)
    sessions.first.commit()
    assert set(take(sessions.first)) == set(faces)
    sessions.first.commit()
    owner = one(sessions.second, "select profile_id from public.faces where id = %s", faces[0])
    with acting(sessions.second, owner):
        one(sessions.second, "select public.delete_face(%s)", faces[0])
    keeping = sessions.submit(
        keep, sessions.first, {face: unit(number, LONG) for number, face in enumerate(faces)}
    )
    sessions.second.commit()

    assert keeping.result(60) == 3
    sessions.first.commit()
    found = sessions.watcher.execute(
        "select face_id from public.face_index where model = 'long'"
    ).fetchall()
    assert {row[0] for row in found} == set(faces[1:])


def test_a_person_who_moves_during_the_change_is_in_one_place(
    sessions: Sessions, faces: list
) -> None:
    prepare(sessions.first)
    owner = one(sessions.second, "select profile_id from public.faces where id = %s", faces[0])
    sessions.second.commit()
    finish(sessions.first)
    sessions.second.execute("update public.profiles set school = 'FTU' where id = %s", [owner])
    sessions.first.commit()
    sessions.second.commit()

    places = "select model, school from public.face_index where face_id = %s order by model"
    assert sessions.watcher.execute(places, [faces[0]]).fetchall() == [
        ("dlib", "FTU"),
        ("long", "FTU"),
    ]
