"""What goes when a photo or a person goes, and that nothing of them stays behind."""

from __future__ import annotations

from uuid import uuid4

import pytest

from automatch.model.faces import EyePlaces
from automatch.model.people import Claims, Role
from automatch.photos.store import photo_path
from automatch.settings.database import PoolSettings
from automatch.store.database import Database
from automatch.store.people import demo
from automatch.store.photos import faces
from tests.support import build
from tests.support.build import acting, connect, one, refused

EVERY_TABLE = """
    select c.oid::regclass::text from pg_class as c
    where c.relkind = 'r'
      and c.relnamespace = any (array['public', 'automatch', 'auth']::regnamespace[])
"""


def traces(conn, *ids):
    """Return every table with a row that names one of *ids*, and how many such rows."""
    found = {}
    for (table,) in conn.execute(EVERY_TABLE).fetchall():
        rows = one(
            conn,
            f"select count(*) from {table} as t where to_jsonb(t)::text ~ %s",
            "|".join(map(str, ids)),
        )
        if rows:
            found[table] = rows
    return found


@pytest.fixture
def matched(conn):
    """Give (profile, face) of a woman with an account and of a man, matched, blocked and heard."""
    she, he = build.a_pair(conn)
    conn.execute(
        "insert into auth.users (id, email, encrypted_password) values (%s, 'she@uit', 'x')",
        [she[0]],
    )
    build.a_match(conn, she[1])
    build.a_job(conn, she[1])
    with acting(conn, he[0]):
        conn.execute("select public.block_profile(%s)", [she[0]])
    return she, he


def test_erased_person_leaves_nothing_but_a_gap_in_feeds_and_the_order_to_delete_the_photo(
    conn, matched
):
    (she, her_face), (he, _) = matched
    session = one(conn, "select auth.start_session(%s, 'token')", she)
    shown = one(conn, "select match_id from automatch.feed_entries where profile_id = %s", he)
    assert len(traces(conn, she, her_face)) >= 10
    with acting(conn, she, session=session):
        conn.execute("select public.erase_account()")

    # The path of the photo, until its files are deleted.
    assert traces(conn, she, her_face) == {"automatch.photo_erasures": 1}
    with acting(conn, he):
        assert conn.execute(
            'select "position", match_id, name, face_id, last_match_id'
            " from public.feed_page(null, 0)"
        ).fetchall() == [(2, None, None, None, shown)]
        assert conn.execute("select from public.feed_page()").fetchall() == []


def test_session_that_has_ended_erases_nobody(conn, matched):
    (she, _), _ = matched
    session = one(conn, "select auth.start_session(%s, 'token')", she)
    conn.execute("select auth.end_sessions(%s, 'local')", [session])
    with refused("token_invalid"), acting(conn, she, session=session):
        conn.execute("select public.erase_account()")

    assert one(conn, "select count(*) from auth.users") == 1


def test_deleted_photo_takes_its_jobs_matches_and_search_row_along(conn, matched):
    (she, her_face), (_, his_face) = matched
    kept = build.a_face(conn, she, build.unit(5))
    with acting(conn, she):
        conn.execute("select public.delete_face(%s)", [her_face])

    assert traces(conn, her_face) == {"automatch.photo_erasures": 1}
    assert set(conn.execute("select id from public.faces").fetchall()) == {(kept,), (his_face,)}


def test_photo_of_another_cannot_be_deleted(conn, matched):
    (she, _), (_, his_face) = matched
    for face in (his_face, uuid4()):
        with refused("not_found"), acting(conn, she):
            conn.execute("select public.delete_face(%s)", [face])

    assert one(conn, "select count(*) from automatch.photo_erasures") == 0


@pytest.mark.anyio
async def test_files_to_delete_are_listed_until_they_are_gone(database):
    with connect(database.owner, autocommit=True) as conn:
        person = build.a_profile(conn)
        photos = [build.a_face(conn, person) for _ in range(3)]
        queued = build.a_job(conn, photos[2])
        conn.execute("delete from public.faces where id = any (%s)", [photos[:2]])
    paths = [photo_path(face) for face in photos]
    async with (
        Database(database.worker, PoolSettings(), name="test") as db,
        db.as_user(Claims(role=Role.SERVICE)) as conn,
    ):
        assert set(await faces.list_erasures(conn)) == set(paths[:2])
        assert await faces.list_known_photos(conn, paths) == {paths[2]}
        assert await faces.list_unfinished_photos(conn, paths) == {paths[2]}
        await faces.forget_erasures(conn, paths[:1])
        await conn.execute("delete from public.match_jobs where id = %s", [queued])

        assert await faces.list_erasures(conn) == paths[1:2]
        assert await faces.list_unfinished_photos(conn, paths) == set()


@pytest.mark.anyio
async def test_simulated_people_go_and_real_ones_stay(database):
    with connect(database.owner, autocommit=True) as conn:
        real = build.a_profile(conn)
        build.a_face(conn, real, build.unit(0))
    simulated = uuid4()
    async with (
        Database(database.worker, PoolSettings(), name="test") as db,
        db.as_user(Claims(role=Role.SERVICE)) as conn,
    ):
        for _ in range(2):
            await demo.add_simulated_person(
                conn,
                person_id=simulated,
                name="Nobody",
                school="UIT",
                gender="male",
                birth_date="2000-01-01",
                embedding=build.unit(0),
                eyes=EyePlaces((0.4, 0.5), (0.6, 0.5), 1, (0, 0, 1)),
                image_sha256="0" * 64,
            )
        assert await demo.list_simulated_people(conn) == [simulated]
        for person in (simulated, real):
            await demo.remove_simulated_person(conn, person)

        assert await demo.list_simulated_people(conn) == []
    with connect(database.owner) as conn:
        assert one(conn, "select id from public.profiles") == real
        assert traces(conn, simulated) == {"automatch.photo_erasures": 1}


def test_receipt_is_mailed_though_an_earlier_one_to_the_address_was_given_up(conn):
    conn.execute("select public.enqueue_receipt('she@uit.example', 'first')")
    taken = "select id, attempts, receipt from public.take_mail('1 minute')"
    mail, attempts, _ = conn.execute(taken).fetchone()
    conn.execute("select public.postpone_mail(%s, %s, 'refused', null)", [mail, attempts])
    conn.execute("select public.enqueue_receipt('she@uit.example', 'second')")

    assert conn.execute(taken).fetchone() == (mail, 1, "second")
