"""Reports of people and requests without an account, and what operators decide of them."""

from __future__ import annotations

import hashlib

from tests.support import build
from tests.support.build import acting, one

ACTOR = "cli:mai"
EXPIRE = """
    select public.delete_expired_rows(d, d, d, d, d, d, %s, %s)
    from (values (interval '99 days')) as long (d)
"""
TOKEN = hashlib.sha256(b"token").digest()


def feed(conn, person):
    with acting(conn, person):
        return [row[0] for row in conn.execute("select profile_id from public.feed_page()")]


def a_pair(conn, seed=0):
    """Write two people who are matched; return (profile, face) of each."""
    she, he = build.a_pair(conn, seed=seed)
    assert build.a_match(conn, she[1]) == 1
    return she, he


def a_witness(conn, seed=0):
    """Write another woman who is matched with him."""
    witness = build.a_profile(conn)
    assert build.a_match(conn, build.a_face(conn, witness, build.unit(seed))) >= 1
    return witness


def report(conn, person, about, reason="harassment", statement=None, face=None):
    with acting(conn, person):
        return one(
            conn,
            "select public.report_profile(%s, %s, %s, %s)",
            *(about, reason, statement, face),
        )


def take_down(conn, subject, reason="not_their_photo", address="a", token=TOKEN):
    case = one(
        conn,
        "select public.request_take_down(%s, %s, 'It is me.', 'encrypted', %s)",
        *(subject, reason, address.encode()),
    )
    conn.execute("select public.create_case_token(%s, %s, interval '1 day')", [case, token])
    return case


def decide(conn, case, act, *, actor=ACTOR, alone=False, face=None):
    return one(
        conn,
        "select decision from public.decide_case(%s, %s, %s, %s, %s)",
        actor,
        case,
        act,
        face,
        alone,
    )


def columns(conn, case, names):
    return conn.execute(f"select {names} from automatch.cases where id = %s", [case]).fetchone()


def is_held(conn, face):
    return one(conn, "select true from automatch.held_faces where face_id = %s", face) is True


def is_frozen(conn, person):
    return one(conn, "select true from automatch.frozen_profiles where profile_id = %s", person)


def own(conn, person):
    with acting(conn, person):
        return conn.execute(
            "select side, state, decision, effect from public.list_own_cases()"
        ).fetchall()
