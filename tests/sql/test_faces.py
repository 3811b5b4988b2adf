"""How many photos a person may keep, have waiting, and have searched for in a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support import build
from tests.support.build import Sessions, acting, claim, fail, one, refused

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
RECORD = (
    "select (public.record_upload(%(id)s, left(%(id)s::text, 2) || '/' || %(id)s,"
    " repeat(%(digit)s, 64))).job_id"
)


def upload(
    conn: psycopg.Connection,
    person: UUID,
    number: int,
    photos: int | None = None,
    waiting: int | None = None,
) -> UUID:
    with acting(conn, person):
        row = conn.execute(RECORD, {"id": uuid4(), "digit": str(number)}).fetchone()
        conn.execute(
            "select public.check_upload_limits(%s::integer, %s::integer)", [photos, waiting]
        )
    assert row is not None
    return UUID(str(row[0]))


def test_person_keeps_as_many_photos_as_they_may_and_refused_ones_take_no_place(
    conn: psycopg.Connection,
) -> None:
    she, other = build.a_profile(conn), build.a_profile(conn)
    first = upload(conn, she, 1, photos=2)
    upload(conn, she, 2, photos=2)
    with refused("photos_full"), conn.transaction():
        upload(conn, she, 3, photos=2)
    # One that is there already is none more, and another person is not concerned.
    assert upload(conn, she, 1, photos=2) == first
    upload(conn, other, 3, photos=2)
    job, token = claim(conn)
    assert fail(conn, job, token, "no_face")

    upload(conn, she, 3, photos=2)
    with refused("photos_full"), conn.transaction():
        upload(conn, she, 4, photos=2)
    assert one(conn, "select count(*) from public.faces where profile_id = %s", she) == 3


def test_photo_whose_job_is_gone_still_takes_its_place(
    conn: psycopg.Connection,
) -> None:
    she = build.a_profile(conn)
    job = upload(conn, she, 1)
    conn.execute("delete from public.match_jobs where id = %s", [job])
    with refused("photos_full"), conn.transaction():
        upload(conn, she, 2, photos=1)


def test_person_has_as_many_jobs_waiting_as_they_may(conn: psycopg.Connection) -> None:
    she = build.a_profile(conn)
    for number in range(2):
        upload(conn, she, number, waiting=2)
    with refused("photos_waiting"), conn.transaction():
        upload(conn, she, 2, waiting=2)
    claim(conn)

    upload(conn, she, 2, waiting=2)


def test_two_photos_at_once_do_not_both_take_the_last_place(sessions: Sessions) -> None:
    she = build.a_profile(sessions.first)
    sessions.first.commit()
    upload(sessions.first, she, 1, photos=1)
    uploading = sessions.submit(partial(upload, photos=1), sessions.second, she, 2)
    sessions.first.commit()

    with refused("photos_full"):
        uploading.result()


def wait(conn: psycopg.Connection, person: UUID, most: int) -> float:
    with acting(conn, person):
        return float(one(conn, "select public.get_search_wait(%s)", most))


def test_searches_of_a_day_are_counted_over_deletions_and_become_free_one_by_one(
    conn: psycopg.Connection,
) -> None:
    she, other = build.a_profile(conn), build.a_profile(conn)
    for hour in range(3):
        build.set_clock(conn, NOON + timedelta(hours=hour))
        upload(conn, she, hour)
        job, token = claim(conn)
        build.embed(conn, one(conn, "select id from public.faces"), build.unit(hour))
        build.complete(conn, job, token)
        conn.execute("delete from public.faces")

    assert wait(conn, she, 3) == wait(conn, other, 0) == 0
    assert wait(conn, she, 2) == 22 * 3600
    assert wait(conn, she, 1) == 23 * 3600
    build.set_clock(conn, NOON + timedelta(hours=24))
    assert wait(conn, she, 2) == 0
    assert wait(conn, she, 1) == 3600


@pytest.mark.parametrize(("faces", "counted"), [(0, 0), (2, 1)])
def test_search_of_a_refused_photo_is_not_counted_unless_its_face_can_still_be_chosen(
    conn: psycopg.Connection, faces: int, counted: int
) -> None:
    upload(conn, build.a_profile(conn), 1)
    job, token = claim(conn)
    box = {"left": 0.1, "top": 0.1, "width": 0.2, "height": 0.2}
    conn.execute(
        "select public.fail_match_jobs(array[%s::uuid], array[%s::bigint], '{several_faces}',"
        " '{Which one?}', array[%s::jsonb])",
        [job, token, Jsonb([box] * faces) if faces else None],
    )

    assert one(conn, "select count(*) from automatch.photo_searches") == counted


def test_searches_that_the_system_begins_are_not_counted(conn: psycopg.Connection) -> None:
    she = build.a_profile(conn)
    build.a_match(conn, build.a_face(conn, she, build.unit(0)))
    conn.execute("update public.profiles set discoverable = false where id = %s", [she])
    conn.execute("update public.profiles set discoverable = true where id = %s", [she])

    assert one(conn, "select count(*) from public.match_jobs where status = 'pending'") == 1
    assert wait(conn, she, 0) == 0
