"""How many photos a person may keep, and have waiting."""

from __future__ import annotations

from functools import partial
from uuid import UUID, uuid4

import psycopg

from tests.support import build
from tests.support.build import Sessions, acting, claim, fail, one, refused

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
