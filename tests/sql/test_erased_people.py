"""Erasing a person: what goes, what is remembered of it, and who does not come back."""

from __future__ import annotations

import hashlib
import json
from uuid import uuid4

import pytest

from tests.support import build
from tests.support.build import acting, one, refused

_TABLES = """
    select c.oid::regclass::text from pg_class as c
    where c.relkind = 'r' and not c.relispartition
      and c.relnamespace = any (array['public', 'automatch', 'auth']::regnamespace[])
    union all
    select 'public.face_embeddings' union all select 'public.face_index'
"""


def sha256(some_id) -> str:
    return hashlib.sha256(str(some_id).encode()).hexdigest()


def count_rows(conn) -> dict[str, int]:
    conn.execute("set local search_path = pg_catalog")
    tables = [table for (table,) in conn.execute(_TABLES).fetchall()]
    return {table: one(conn, f"select count(*) from {table}") for table in tables}


def erase(conn, person, act="operator"):
    return one(conn, "select public.erase_person(%s, %s)", person, act)


@pytest.fixture
def matched(conn):
    """Give (profile, face) of a woman with an account and of a man, matched and blocked."""
    she, he = build.a_pair(conn)
    conn.execute(
        "insert into auth.users (id, email, encrypted_password) values (%s, 'she@uit', 'x')",
        [she[0]],
    )
    conn.execute("update public.profiles set email = 'She@uit' where id = %s", [she[0]])
    conn.execute("select auth.start_session(%s, 'token')", [she[0]])
    build.a_match(conn, she[1])
    with acting(conn, he[0]):
        conn.execute("select public.block_profile(%s)", [she[0]])
    return she, he


def test_what_an_erasure_tells_is_what_went(conn, matched):
    (she, her_face), _ = matched
    before = count_rows(conn)
    erased = erase(conn, she)
    after = count_rows(conn)

    gone = {table: before[table] - after[table] for table in before}
    assert erased["rows"] == {table: count for table, count in gone.items() if count > 0}
    assert erased["rows"]["public.faces"] == erased["rows"]["auth.sessions"] == 1
    assert erased["photos"] == [sha256(her_face)]
    assert erased["paths"] == [f"{her_face.hex[:2]}/{her_face}"]
    assert (erased["person"], erased["act"], erased["email"]) == (
        sha256(she),
        "operator",
        "she@uit",
    )
    with refused("not_found"):
        erase(conn, she)


@pytest.mark.parametrize("way", ["sql", "account", "service", "simulated"])
def test_however_somebody_is_erased_it_is_remembered_unless_they_never_existed(conn, matched, way):
    (she, _), (he, _) = matched
    if way == "service":
        erase(conn, she, "retention")
    elif way == "account":
        session = one(conn, "select id from auth.sessions where user_id = %s", she)
        with acting(conn, she, session=session):
            conn.execute("select public.erase_account()")
    else:
        conn.execute("update public.profiles set simulated = %s", [way == "simulated"])
        conn.execute("delete from auth.users where id = %s", [she])

    kept = conn.execute("select person_sha256, act, is_logged from automatch.erased_people")
    act = {"sql": "other", "account": "person", "service": "retention"}.get(way)
    assert kept.fetchall() == ([(sha256(she), act, False)] if act else [])
    conn.execute("delete from public.profiles where id = %s", [he])
    acts = conn.execute("select act from automatch.erased_people where act <> %s", [act or ""])
    assert acts.fetchall() == ([("other",)] if act and act != "other" else []), "the act is over"


def test_whom_the_file_knows_and_the_database_does_not_is_erased_again(conn, matched):
    (she, _), (he, _) = matched
    gone = build.a_profile(conn)
    erase(conn, gone)
    lines = [sha256(she), sha256(gone), sha256(uuid4())]

    def replay():
        rows = conn.execute("select * from automatch.replay_erasures(%s)", [lines]).fetchall()
        return [row["person"] for (row,) in rows]

    assert replay() == [sha256(she)]
    assert conn.execute("select id from public.profiles").fetchall() == [(he,)]
    assert replay() == []
    assert one(conn, "select count(*) from automatch.erased_people where not is_logged") == 1


def test_every_place_that_names_a_person_or_photo_is_found_and_none_after_the_erasure(
    conn, matched
):
    (she, her_face), _ = matched
    conn.execute(
        "insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)"
        " values ('POST', 'http://localhost', '{}', convert_to(%s, 'UTF8'), 1)",
        [json.dumps({"face": str(her_face)})],
    )
    conn.execute("select automatch.audit('x', 'y', jsonb_build_object('person', %s::uuid))", [she])

    def find():
        rows = conn.execute(
            "select place, row_count from automatch.find_erased(%s)",
            [[sha256(she), sha256(her_face)]],
        )
        return {place: count for place, count in rows.fetchall() if count != 0}

    assert find().keys() >= {
        *("public.profiles", "public.faces", "public.matches", "public.profile_blocks"),
        *("auth.users", "automatch.audit_log", "net.http_request_queue"),
    }
    erase(conn, she)

    assert find() == {
        "automatch.audit_log": 1,
        "automatch.photo_erasures": 1,
        "net.http_request_queue": 1,
    }
