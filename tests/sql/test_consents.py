"""No live consent, no face and no job: whoever asks, and whatever happens at the same time."""

from __future__ import annotations

from datetime import date

import psycopg
import pytest

from automatch.errors.job import ProfileNotFoundError
from automatch.errors.request import (
    AgeNotAllowedError,
    ConsentOutdatedError,
    ConsentRequiredError,
    InputInvalidError,
)
from automatch.model.people import Claims, Gender, Role
from automatch.settings.database import PoolSettings
from automatch.store.database import Database
from automatch.store.people import profiles
from automatch.store.photos import faces
from tests.support import build
from tests.support.build import acting, connect, one, refused

WITHDRAW = "select public.record_consent(false)"
GRANT = "select public.record_consent(true, '2026-11')"


@pytest.mark.parametrize("role", ["service_role", None])
@pytest.mark.parametrize("history", [[], ["granted", "withdrawn"]])
def test_no_face_and_no_job_without_live_consent_even_for_the_service_and_the_owner(
    conn, role, history
):
    person = build.a_profile(conn)
    face = build.a_face(conn, person)
    other = build.a_profile(conn, consent=False)
    for action in history:
        build.record_consent(conn, other, action)
    job = "insert into public.match_jobs (face_id, user_id, school) values (%s, %s, 'UIT')"

    def write(query, *parameters):
        if role is None:
            conn.execute(query, parameters)
        else:
            with acting(conn, role=role):
                conn.execute(query, parameters)

    with refused("consent_required"), conn.transaction():
        write(
            "insert into public.faces (profile_id, image_path, image_sha256)"
            " values (%s, 'aa/b', repeat('0', 64))",
            other,
        )
    with refused("consent_required"), conn.transaction():
        write(job, face, other)
    write(job, face, person)


@pytest.mark.parametrize("role", ["service_role", None])
def test_no_face_and_no_job_for_somebody_without_a_birth_date(conn, role):
    person = build.a_profile(conn)
    face = build.a_face(conn, person)
    ageless = build.a_profile(conn, birth_date=None)
    for statement, row in (
        (
            "insert into public.faces (profile_id, image_path, image_sha256)"
            " values (%s, 'aa/b', repeat('0', 64))",
            [ageless],
        ),
        (
            "insert into public.match_jobs (user_id, face_id, school) values (%s, %s, 'UIT')",
            [ageless, face],
        ),
    ):
        with refused("profile_incomplete"), acting(conn, role=role or "postgres"):
            conn.execute(statement, row)


@pytest.mark.parametrize("role", ["service_role", None])
def test_time_and_text_of_a_consent_are_facts_whoever_inserts_it(conn, role):
    person = build.a_profile(conn, consent=False)
    with acting(conn, role=role or "postgres"):
        conn.execute(
            "insert into public.biometric_consents"
            " (profile_id, action, text_version, text_sha256, recorded_at)"
            " values (%s, 'granted', '2026-11', 'another text', '2020-01-01')",
            [person],
        )

    assert one(
        conn,
        "select c.recorded_at > now() - interval '1 hour' and c.text_sha256 = t.sha256"
        " from public.biometric_consents as c"
        " join public.consent_texts as t on t.version = c.text_version",
    )


@pytest.mark.parametrize("change", ["update %s set action = 'withdrawn'", "delete from %s"])
@pytest.mark.parametrize("role", ["service_role", None])
def test_ledger_is_insert_only_even_for_its_owner(conn, change, role):
    build.a_profile(conn)
    with pytest.raises(psycopg.Error) as caught, acting(conn, role=role or "postgres"):
        conn.execute(change % "public.biometric_consents")

    assert caught.value.sqlstate == ("23000" if role is None else "42501")


def test_ledger_cannot_be_truncated(conn):
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="insert-only"):
        conn.execute("truncate public.biometric_consents")


def test_erasing_a_person_takes_their_consents_along(conn):
    person = build.a_profile(conn)
    conn.execute("delete from public.profiles where id = %s", [person])

    assert one(conn, "select count(*) from public.biometric_consents") == 0


@pytest.mark.parametrize("version", [None, "", "2025-01"])
def test_consent_to_another_text_than_the_current_one_is_refused(conn, version):
    person = build.a_profile(conn, consent=False)
    with refused("consent_outdated"), acting(conn, person):
        conn.execute("select public.record_consent(true, %s)", [version])


def test_newest_text_is_the_current_one(conn):
    person = build.a_profile(conn, consent=False)
    conn.execute("insert into public.consent_texts (version, body) values ('2099-01', 'New')")
    with refused("consent_outdated"), acting(conn, person):
        conn.execute(GRANT)
    with acting(conn, person):
        conn.execute("select public.record_consent(true, '2099-01')")

    kept = conn.execute(
        "select action, text_version, text_sha256 = encode(sha256('New'), 'hex')"
        " from public.biometric_consents"
    ).fetchall()
    assert kept == [("granted", "2099-01", True)]


def test_saying_it_twice_is_written_once(conn):
    person = build.a_profile(conn, consent=False)
    with acting(conn, person):
        for statement in (WITHDRAW, GRANT, GRANT, WITHDRAW, WITHDRAW):
            conn.execute(statement)

    ledger = conn.execute("select action from public.biometric_consents order by id").fetchall()
    assert ledger == [("granted",), ("withdrawn",)]


def test_withdrawal_takes_faces_jobs_matches_and_search_rows_and_tells_the_other(conn):
    (she, her_face), (he, _) = build.a_pair(conn)
    build.a_match(conn, her_face)
    build.a_job(conn, her_face)
    path = one(conn, "select image_path from public.faces where id = %s", her_face)
    with acting(conn, she):
        conn.execute(WITHDRAW)

    counts = conn.execute(
        "select (select count(*) from public.faces where profile_id = %(she)s),"
        " (select count(*) from public.match_jobs), (select count(*) from public.matches),"
        " (select count(*) from public.face_index where profile_id = %(she)s)",
        {"she": she},
    ).fetchone()
    assert counts == (0, 0, 0, 0)
    assert one(conn, "select image_path from automatch.photo_erasures") == path
    with acting(conn, he):
        news = conn.execute(
            "select position, match_id, name from public.feed_page(null, 1)"
        ).fetchall()
    assert news == [(2, None, None)]


def test_consent_given_again_brings_nothing_back(conn):
    person = build.a_profile(conn)
    build.a_face(conn, person, build.unit(1))
    with acting(conn, person):
        conn.execute(WITHDRAW)
        conn.execute(GRANT)

    assert one(conn, "select count(*) from public.faces") == 0
    assert one(conn, "select count(*) from public.face_index") == 0


@pytest.mark.anyio
async def test_refusals_arrive_as_errors_of_ours(database):
    with connect(database.owner) as conn:
        person = build.a_profile(conn, consent=False)
    claims = Claims(role=Role.AUTHENTICATED, subject=person)
    photo = {
        "face_id": person,
        "image_path": f"{person.hex[:2]}/{person}",
        "image_sha256": "0" * 64,
    }
    form = {"name": "A", "school": "UIT", "gender": Gender.MALE, "birth_date": date(2000, 1, 1)}
    async with Database(database.api, PoolSettings(), name="test") as db:

        async def attempt(call, *args, subject=claims, **kwargs):
            async with db.as_user(subject) as conn:
                return await call(conn, *args, **kwargs)

        with pytest.raises(ConsentOutdatedError, match="read the current version"):
            await attempt(profiles.record_consent, granted=True, version="1999-01")
        with pytest.raises(ConsentRequiredError):
            await attempt(faces.record_upload, **photo)
        with pytest.raises(AgeNotAllowedError):
            await attempt(profiles.save_profile, **{**form, "birth_date": date(2020, 1, 1)})
        with pytest.raises(InputInvalidError, match="name is trimmed"):
            await attempt(profiles.save_profile, **{**form, "name": ""})
        with pytest.raises(InputInvalidError):
            await attempt(profiles.save_profile, **{**form, "name": "A\0"})
        with pytest.raises(ProfileNotFoundError):
            await attempt(
                profiles.load_profile, subject=Claims(role=Role.AUTHENTICATED, subject=None)
            )
        await attempt(profiles.record_consent, granted=True, version="2026-11")

        assert (await attempt(profiles.load_consent)).granted
        assert (await attempt(faces.record_upload, **photo)).is_new
        assert not (await attempt(faces.record_upload, **photo)).is_new


def upload(conn, person):
    with acting(conn, person):
        conn.execute(
            "select public.record_upload(%(id)s, left(%(id)s::text, 2) || '/' || %(id)s,"
            " repeat('0', 64))",
            {"id": person},
        )


def withdraw(conn, person):
    with acting(conn, person):
        conn.execute(WITHDRAW)


def test_withdrawal_during_an_upload_waits_for_it_and_deletes_the_face(sessions):
    first, second, watcher = sessions.first, sessions.second, sessions.watcher
    person = build.a_profile(first)
    first.commit()
    upload(first, person)
    withdrawing = sessions.submit(withdraw, second, person)
    first.commit()
    withdrawing.result()
    second.commit()

    assert one(watcher, "select count(*) from public.faces") == 0
    assert one(watcher, "select count(*) from public.match_jobs") == 0
    assert one(watcher, "select count(*) from automatch.photo_erasures") == 1


@pytest.mark.parametrize("write", [upload, build.a_face], ids=["person", "service"])
def test_upload_during_a_withdrawal_waits_for_it_and_is_refused(sessions, write):
    first, second, watcher = sessions.first, sessions.second, sessions.watcher
    person = build.a_profile(first)
    first.commit()
    withdraw(first, person)
    uploading = sessions.submit(write, second, person)
    first.commit()

    with refused("consent_required"):
        uploading.result()
    assert one(watcher, "select count(*) from public.faces") == 0


@pytest.mark.parametrize("first_to_commit", ["worker", "person"])
def test_embedding_stored_during_a_withdrawal_leaves_nothing_to_find(sessions, first_to_commit):
    first, second, watcher = sessions.first, sessions.second, sessions.watcher
    person = build.a_profile(first)
    build.a_job(first, build.a_face(first, person))
    job, token = build.claim(first)
    first.commit()

    def store(conn):
        return one(
            conn,
            "select count(*) = 1 from public.store_face_embeddings("
            "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
            " array['{}']::jsonb[], array['{}']::jsonb[])",
            *(job, token, build.unit(1)),
        )

    actions = [store, lambda conn: withdraw(conn, person)]
    before, after = actions if first_to_commit == "worker" else reversed(actions)
    before(first)
    waiting = sessions.submit(after, second)
    first.commit()
    answer = waiting.result()
    second.commit()

    if first_to_commit == "person":
        assert answer is False
    assert one(watcher, "select count(*) from public.faces") == 0
    assert one(watcher, "select count(*) from public.face_index") == 0


def test_of_two_rows_written_at_once_the_later_one_holds(sessions):
    first, second, watcher = sessions.first, sessions.second, sessions.watcher
    person = build.a_profile(first)
    first.commit()
    # The second draws its number, then waits for the person; the first draws a later one.
    first.execute("select from public.profiles where id = %s for update", [person])
    waiting = sessions.submit(build.record_consent, second, person, "withdrawn")
    build.record_consent(first, person, "granted")
    first.commit()
    waiting.result()
    second.commit()

    assert not one(watcher, "select automatch.has_consent(%s)", person)
