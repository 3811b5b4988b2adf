"""Who was shown whose photo."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from tests.support import build
from tests.support.build import acting, one

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def record(conn, *views, at=NOON, full=False):
    """Record that the first of each pair was shown the photo that is the second."""
    conn.execute(
        "select public.record_photo_views(%s::uuid[], %s::uuid[], %s, %s)",
        [[v for v, _ in views], [f for _, f in views], [full] * len(views), [at] * len(views)],
    )


def views(conn):
    return conn.execute(
        "select viewer_id, face_id, full_size from automatch.photo_views order by first_at"
    ).fetchall()


def test_views_of_a_day_are_one_row_that_knows_whether_the_whole_photo_was_shown(conn):
    (_, her_face), (he, _) = build.a_pair(conn)
    record(conn, (he, her_face), (he, her_face))
    assert views(conn) == [(he, her_face, False)]
    record(conn, (he, her_face), full=True)
    record(conn, (he, her_face))
    assert views(conn) == [(he, her_face, True)]
    record(conn, (he, her_face), at=NOON.replace(day=21))

    assert len(views(conn)) == 2
    days = conn.execute("select day from automatch.photo_views order by day").fetchall()
    assert [day.day for (day,) in days] == [20, 21]


def test_own_photos_and_people_or_photos_that_are_gone_are_left_out(conn):
    (she, her_face), (he, his_face) = build.a_pair(conn)
    record(conn, (she, her_face), (uuid4(), her_face), (he, uuid4()), (she, his_face))

    assert views(conn) == [(she, his_face, False)]


def test_few_people_are_not_counted_exactly_and_operators_are_told_as_such(conn):
    build.set_clock(conn, NOON)
    (she, her_face), (he, _) = build.a_pair(conn)

    def count():
        with acting(conn, she):
            return conn.execute("select * from public.count_photo_views()").fetchone()

    assert count() == ("0", "0", 0)
    record(conn, (he, her_face), (None, her_face))
    assert count() == ("1-2", "1-2", 1)
    record(conn, *[(build.a_profile(conn, gender="male"), her_face) for _ in range(3)])
    build.set_clock(conn, NOON.replace(day=28))
    assert count() == ("0", "4", 1)
    build.set_clock(conn, datetime(2026, 12, 20, 12, tzinfo=UTC))
    assert count() == ("0", "0", 0)


def test_views_go_with_the_photo_and_with_the_viewer(conn):
    (_, her_face), (he, his_face) = build.a_pair(conn)
    other = build.a_profile(conn)
    record(conn, (he, her_face), (other, her_face), (other, his_face))
    conn.execute("delete from public.profiles where id = %s", [he])
    assert views(conn) == [(other, her_face, False)]
    conn.execute("delete from public.faces where id = %s", [her_face])

    assert one(conn, "select count(*) from automatch.photo_views") == 0
