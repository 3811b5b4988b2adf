"""Who runs this and their texts: published for good, and one to agree to in each language."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support import build
from tests.support.build import acting, one, refused, set_clock

MORNING = datetime(2026, 12, 31, 9, tzinfo=UTC)


def publish(
    conn: psycopg.Connection,
    language: str = "en",
    *,
    kind: str = "consent",
    asks_again: bool = False,
) -> str:
    version = one(
        conn,
        "select public.publish_notice(%s, %s, %s, %s)",
        *(kind, language, f"Text in {language}", asks_again),
    )
    assert isinstance(version, str)
    return version


def current(conn: psycopg.Connection, kind: str = "consent") -> set[str]:
    return {v for (v,) in conn.execute("select version from public.current_notices(%s)", [kind])}


@pytest.mark.parametrize("kind", ["consent", "privacy"])
def test_newest_text_of_the_operator_in_each_language_holds(conn, kind):
    assert current(conn, kind) == {"2026-11"}

    set_clock(conn, MORNING)
    vietnamese = publish(conn, "vi", kind=kind)
    assert current(conn, kind) == {vietnamese}
    first = publish(conn, kind=kind)
    assert current(conn, kind) == {first, vietnamese}
    set_clock(conn, MORNING + timedelta(hours=14))
    second = publish(conn, kind=kind)

    assert current(conn, kind) == {second, vietnamese}
    assert (first, second) == ("2026-12-31-en", "2026-12-31-en.2")
    set_clock(conn, MORNING + timedelta(hours=15))
    third = publish(conn, kind=kind)
    assert current(conn, kind) == {third, vietnamese}
    assert third == "2027-01-01-en"


def test_text_that_asks_again_ends_the_older_ones_of_all_languages(conn):
    publish(conn, "vi")
    asking = publish(conn, asks_again=True)
    assert current(conn) == {asking}
    translated = publish(conn, "vi")

    assert current(conn) == {asking, translated}


def agree(conn, person, version):
    with acting(conn, person):
        conn.execute("select public.record_consent(true, %s)", [version])


def ledger(conn):
    query = "select action, text_version from public.biometric_consents order by id"
    return conn.execute(query).fetchall()


def upload(conn, person):
    with acting(conn, person):
        conn.execute(
            "select public.record_upload(%(id)s, left(%(id)s::text, 2) || '/' || %(id)s,"
            " repeat('0', 64))",
            {"id": person},
        )


def test_nobody_is_asked_again_unless_the_text_says_so(conn):
    person = build.a_profile(conn)
    version = publish(conn)

    agree(conn, person, version)

    assert ledger(conn) == [("granted", "2026-11")]
    assert not one(conn, "select automatch.must_consent_again(%s)", person)
    upload(conn, person)


def test_who_is_asked_again_stays_found_and_adds_no_photo_before_agreeing(conn):
    person = build.a_profile(conn)
    face = build.a_face(conn, person, build.unit(1))
    asking = publish(conn, asks_again=True)
    translated = publish(conn, "vi")

    assert one(conn, "select automatch.must_consent_again(%s)", person)
    assert one(conn, "select face_id from public.face_index") == face
    with refused("consent_outdated"):
        upload(conn, person)
    with refused("consent_outdated"):
        agree(conn, person, "2026-11")
    agree(conn, person, translated)
    agree(conn, person, asking)

    assert ledger(conn) == [("granted", "2026-11"), ("granted", translated)]
    upload(conn, person)


def test_withdrawal_names_the_text_that_was_agreed_to(conn):
    person = build.a_profile(conn)
    publish(conn, asks_again=True)
    with acting(conn, person):
        conn.execute("select public.record_consent(false)")

    assert ledger(conn) == [("granted", "2026-11"), ("withdrawn", "2026-11")]
    assert not one(conn, "select automatch.must_consent_again(%s)", person)


@pytest.mark.parametrize("table", ["public.consent_texts", "automatch.privacy_notices"])
@pytest.mark.parametrize("change", ["update {} set body = 'x'", "delete from {}", "truncate {}"])
def test_published_texts_are_never_changed(conn, table, change):
    statement = change.format(table) + (" cascade" if change.startswith("trunc") else "")

    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        conn.execute(statement.encode())


@pytest.mark.parametrize(
    ("kind", "language", "body", "asks_again"),
    [
        ("privacy", "en", "Text", True),
        ("terms", "en", "Text", False),
        ("consent", "English", "Text", False),
        ("consent", "en", " ", False),
        ("privacy", "en", "", False),
        ("privacy", "../x", "Text", False),
    ],
)
def test_text_that_cannot_be_shown_is_refused(conn, kind, language, body, asks_again):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(
            "select public.publish_notice(%s, %s, %s, %s)",
            [kind, language, body, asks_again],
        )

    assert caught.value.sqlstate in {"AM001", "23514"}


def operator(conn):
    return conn.execute("select * from public.get_site_operator()").fetchone()


def test_operator_is_changed_one_value_at_a_time(conn):
    change = "select public.set_site_operator(%s, %s, %s)"
    conn.execute(change, ["UIT Union", "privacy@uit.example", None])
    conn.execute(change, [None, "", "https://uit.example/contact"])

    assert operator(conn) == ("UIT Union", None, "https://uit.example/contact")


@pytest.mark.parametrize(
    "values",
    [
        ["two\nlines", None, None],
        [None, "nobody", None],
        [None, "a@b.example?cc=all@c.example", None],
        [None, None, "javascript:alert(1)"],
        [None, None, 'https://a.example/"onclick'],
    ],
)
def test_contact_that_would_mislead_is_refused(conn, values):
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("select public.set_site_operator(%s, %s, %s)", values)
