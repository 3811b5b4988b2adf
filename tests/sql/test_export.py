"""What the export of a person says, and that no table with personal rows is left out of it."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from tests.support import build
from tests.support.build import acting, one

EXPLAINED = {
    "auth.one_time_tokens": "hashes of links, which are secrets",
    "auth.refresh_tokens": "hashes of tokens, which are secrets",
    "automatch.deliveries": "how quick the server was, for the week that the job is kept",
    "automatch.duplicate_checks": "photos in a queue, of which nothing else is known",
    "automatch.faces_to_embed": "photos in a queue, of which nothing else is known",
    "automatch.feed_counters": "positions, which mean nothing without the feed",
    "automatch.photo_challenges": "what was asked before the camera, until it is answered",
    "public.face_index": "a copy for the search, of what the photos and the profile say",
}
"""Tables with rows of people that are in no part of the export, and why."""

_FOREIGN_KEYS = """
    select format('%s.%s', cn.nspname, c.relname), format('%s.%s', pn.nspname, p.relname)
    from pg_constraint as k
    join pg_class as c on c.oid = k.conrelid join pg_namespace as cn on cn.oid = c.relnamespace
    join pg_class as p on p.oid = k.confrelid join pg_namespace as pn on pn.oid = p.relnamespace
    where k.contype = 'f' and not c.relispartition
"""
_PERSONAL_COLUMNS = """
    select distinct format('%s.%s', n.nspname, c.relname)
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relkind in ('r', 'p') and not c.relispartition
      and n.nspname in ('public', 'automatch', 'auth')
      and a.attname ~ '^(.*_)?(profile|user|person|viewer|owner|reporter)(_[ab])?_id$'
"""


def list_personal_tables(conn) -> set[str]:
    """Return all tables whose rows lead to a person, by foreign keys or by a column's name."""
    refers_to = defaultdict(set)
    for table, parent in conn.execute(_FOREIGN_KEYS).fetchall():
        refers_to[parent].add(table)
    found = {"public.profiles", "auth.users"}
    todo = list(found)
    while todo:
        new = refers_to[todo.pop()] - found
        found |= new
        todo += new
    return found | {table for (table,) in conn.execute(_PERSONAL_COLUMNS).fetchall()}


def export(conn, person, salt="salt") -> dict[str, list[dict]]:
    parts = defaultdict(list)
    for part, item in conn.execute(
        "select part, item from public.export_person(%s, %s)", [person, salt]
    ).fetchall():
        parts[part].append(item)
    return parts


def test_every_table_with_rows_of_people_is_exported_or_left_out_for_a_reason(conn):
    sources = one(
        conn, "select string_agg(prosrc, ' ') from pg_proc where proname like 'export\\_%%'"
    )
    exported = set(re.findall(r"(?:from|join) ((?:public|automatch|auth)\.\w+)", sources))
    personal = list_personal_tables(conn)

    assert personal - exported == set(EXPLAINED)
    assert not exported & set(EXPLAINED)


@pytest.fixture
def matched(conn):
    """Give (profile, face) of a woman and a man who match."""
    she, he = build.a_pair(conn)
    build.a_match(conn, she[1])
    return she, he


def test_others_are_pseudonyms_that_are_the_same_within_one_export(conn, matched):
    (she, _), (he, his_face) = matched
    conn.execute(
        "select public.record_photo_views(array[%s]::uuid[], array[%s]::uuid[], '{t}', '{now}')",
        [she, his_face],
    )
    parts = export(conn, she)
    with acting(conn, she):
        conn.execute("select public.block_profile(%s)", [he])
    after = export(conn, she)

    [match], [seen], [block] = parts["matches"], parts["photos_seen"], after["blocks"]
    assert match["person"] == seen["person"] == block["person"]
    assert match["similarity"] == 0.8, "rounded as the feed shows it"
    assert "matches" not in after
    [other_salt] = export(conn, she, "other")["blocks"]
    assert other_salt["person"] != block["person"]
    for text in (str(he), str(his_face)):
        assert text not in str(parts) + str(after)


def test_who_hid_the_person_or_looked_at_their_photo_is_not_told(conn, matched):
    (she, her_face), (he, _) = matched
    conn.execute(
        "select public.record_photo_views(array[%s]::uuid[], array[%s]::uuid[], '{t}', '{now}')",
        [he, her_face],
    )
    [views] = export(conn, she)["views_of_photos"]
    with acting(conn, he):
        conn.execute("select public.block_profile(%s)", [she])
    after = export(conn, she)

    assert views["people"] == "1-2", "of one match it would be a name"
    assert set(views) == {"photo", "week", "people", "by_operators_on_days"}
    assert "matches" not in after
    assert "blocks" not in after


def test_consents_come_with_their_texts_and_acts_of_operators_without_names(conn, matched):
    (she, _), _ = matched
    build.record_consent(conn, she, "withdrawn")
    conn.execute(
        "select automatch.audit('cli:thanh', 'read_mail', jsonb_build_object('person', %s::uuid))",
        [she],
    )
    parts = export(conn, she)

    text = one(conn, "select body from public.consent_texts")
    assert [(each["action"], each["version"], each["text"]) for each in parts["consents"]] == [
        ("granted", "2026-11", text),
        ("withdrawn", "2026-11", text),
    ]
    [act] = parts["acts_of_operators"]
    assert (act["action"], act["by"]) == ("read_mail", "operator")
    assert "thanh" not in str(parts)


def test_somebody_who_does_not_exist_has_no_export(conn):
    assert export(conn, "00000000-0000-0000-0000-000000000000") == {}


def test_membership_and_choices_are_told_once(conn):
    she = build.a_profile(conn)
    build.a_face(conn, she)

    told = export(conn, she)
    assert [len(told[part]) for part in ("memberships", "choices")] == [
        one(conn, f"select count(*) from automatch.{table} where profile_id = %s", she)
        for table in ("memberships", "profile_choices")
    ]
    assert [choice["counted"] for choice in told["choices"]] == [False]
