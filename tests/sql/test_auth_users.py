"""Whether the session of an access token goes on."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.build import one


@pytest.fixture
def person(conn: psycopg.Connection) -> str:
    """Give somebody with an account."""
    return str(one(conn, "select auth.create_user('linh@example.org', 'x', '{}')"))


def is_live(conn: psycopg.Connection, **claims: object) -> bool:
    text = {
        name: value if isinstance(value, bool) else str(value) for name, value in claims.items()
    }
    return bool(one(conn, "select public.is_session_live(%s)", Jsonb(text)))


def test_session_is_live_for_its_person_until_it_ends(
    conn: psycopg.Connection, person: str
) -> None:
    session = one(conn, "select auth.start_session(%s, 'token')", person)

    assert is_live(conn, sub=person, session_id=session)
    assert not is_live(conn, sub=uuid4(), session_id=session)
    assert not is_live(conn, sub=person, session_id=uuid4())
    conn.execute("select auth.end_sessions(%s, 'local')", [session])
    assert not is_live(conn, sub=person, session_id=session)


def test_session_that_another_server_keeps_is_not_looked_for(
    conn: psycopg.Connection, person: str
) -> None:
    assert is_live(conn, sub=person, session_id=uuid4(), external=True)
    assert is_live(conn, sub=person)
    assert is_live(conn, role="service_role")


def test_session_of_a_smoke_test_is_its_run(conn: psycopg.Connection) -> None:
    run, her = conn.execute("select id, her_id from public.start_smoke_test()").fetchone() or ()

    assert is_live(conn, sub=her, session_id=run)
    assert not is_live(conn, sub=uuid4(), session_id=run)
    conn.execute("select public.end_smoke_tests(%s)", [run])
    assert not is_live(conn, sub=her, session_id=run)
