"""The operator's list of schools: spellings, renaming, merging, removing."""

from __future__ import annotations

import pytest

from tests.support import build
from tests.support.build import one, refused


@pytest.fixture
def conn(conn):
    """Give a database in which tests do not open schools."""
    conn.execute("alter table public.profiles disable trigger a_school_is_open")
    return conn


def add(conn, name, *, domains=(), aliases=(), is_open=False):
    conn.execute(
        "select public.add_school(%s, %s, %s, %s, 'me')",
        [name, list(domains), list(aliases), is_open],
    )


def found(conn, spelling):
    return one(conn, "select (automatch.find_school(%s)).name", spelling)


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("UIT", "uit"),
        ("UIT", "\uff35\uff29\uff34"),
        ("UIT", "  u\u200bit "),
        ("Đại học Công nghệ", "đẠI hỌC cÔNG nGHỆ"),
        ("Đại học Công nghệ", "Ðại học Công nghệ"),
        ("Đại học Công nghệ", "Ɖại học Công nghệ"),
        ("Đại học Công nghệ", "Đa\u0323i ho\u0323c Co\u0302ng nghe\u0302\u0323"),
        ("Đại học Công nghệ", "Đại\u00a0học\t Công\u3000nghệ"),
        ("Hoà Bình", "Hòa Bình"),
        ("Trường Thuỷ lợi", "Trường Thủy lợi"),
        ("Khoẻ", "KHỎE"),
        ("Hoàng Hoa", "Hòang Hoa"),
        ("Mary\u2019s - West", "mary's \u2013 west"),
    ],
)
def test_spellings_of_a_name_are_one_school(conn, name, spelling):
    add(conn, name) if name != "UIT" else None

    assert found(conn, spelling) == name
    with refused("school_exists"):
        add(conn, spelling)


@pytest.mark.parametrize("other", ["Dai hoc", "Đai học", "Đại hộc", "Đạihọc", "Đại học 2", ""])
def test_other_words_are_another_school_or_none(conn, other):
    add(conn, "Đại học")

    assert found(conn, other) is None


def test_alias_stands_for_the_school_until_it_is_dropped(conn):
    add(conn, "HCMUS", aliases=["Khoa học Tự nhiên", "KHTN"])
    with refused("school_exists"), conn.transaction():
        add(conn, "khtn")
    assert found(conn, "khtn") == "HCMUS"

    conn.execute("select public.change_school('hcmus', p_dropped_aliases => '{khtn,HCMUS}')")
    assert (found(conn, "KHTN"), found(conn, "HCMUS")) == (None, "HCMUS")


def columns_with_schools(conn):
    """Return the columns that hold names of schools, from the catalogue."""
    return conn.execute(
        "select a.attrelid::regclass::text from pg_attribute as a"
        " join pg_class as c on c.oid = a.attrelid"
        " where a.attname = 'school' and c.relkind in ('r', 'p') and not c.relispartition"
        " and c.relnamespace in ('public'::regnamespace, 'automatch'::regnamespace)"
    ).fetchall()


def a_school_in_use(conn):
    """Write two people who match, and a row with their school wherever the catalogue has one."""
    (she, hers), (he, _) = build.a_pair(conn)
    assert build.a_match(conn, hers) == 1
    build.a_job(conn, hers)
    conn.execute("insert into automatch.paused_schools (school) values ('UIT')")
    conn.execute(
        "insert into automatch.group_indexes (model, school, gender, index_name, ready, m,"
        " ef_construction) values ('dlib', 'UIT', 'male', 'an_index', true, 24, 128)"
    )
    conn.execute(
        "insert into automatch.search_audits (job_id, school, gender, expected, found)"
        " values (%s, 'UIT', 'male', 1, 1)",
        [she],
    )
    return she, he


def test_renaming_changes_the_name_wherever_it_is_written_and_searches_for_nobody(conn):
    she, he = a_school_in_use(conn)
    open_jobs = "select count(*) from public.match_jobs where completed_at is null"
    positions = "select array_agg(position order by profile_id) from automatch.feed_entries"
    before = (one(conn, open_jobs), one(conn, positions))

    assert one(conn, "select public.rename_school('uit', ' Trường  UIT ', 'me')") == 2
    assert one(conn, "select public.rename_finished_jobs()") == 1
    assert one(conn, "select public.rename_finished_jobs()") == 0

    for (table,) in columns_with_schools(conn):
        # Only a cluster has rows in the second, and tests of its own.
        if table in {"automatch.smoke_test_runs", "automatch.sharded_embeddings"}:
            continue
        names = conn.execute(f"select distinct school from {table}").fetchall()
        assert names == [("Trường UIT",)], table
    assert found(conn, "UIT") == "Trường UIT"
    assert (one(conn, open_jobs), one(conn, positions)) == before
    assert one(conn, "select automatch.may_see(%s, %s)", she, he)
    # Its partial index is of rows with the old name.
    assert not one(conn, "select ready from automatch.group_indexes")


@pytest.mark.parametrize("name", ["HCMUS", "hcmus"])
def test_school_is_not_renamed_to_a_spelling_of_another_one(conn, name):
    add(conn, "HCMUS")
    with refused("school_exists"):
        conn.execute("select public.rename_school('UIT', %s)", [name])


def test_capitals_of_a_name_can_be_changed(conn):
    person = build.a_profile(conn)
    conn.execute("select public.rename_school('UIT', 'uit')")

    assert one(conn, "select school from public.profiles where id = %s", person) == "uit"
    assert found(conn, "UIT") == "uit"


def merge(conn, source, into, limit=1):
    moved = 0
    while count := one(conn, "select public.merge_schools(%s, %s, %s, 'me')", source, into, limit):
        moved += count
    return moved


def test_people_of_merged_schools_find_each_other_and_keep_their_proofs(conn):
    add(conn, "HCMUS", domains=["hcmus.edu.vn"], aliases=["KHTN"])
    add(conn, "BKU")
    center = build.unit(0)
    she = build.a_profile(conn, school="HCMUS")
    he = build.a_profile(conn, school="BKU", gender="male")
    without_proof = build.a_profile(conn, school="HCMUS")
    for person, school, embedding in (
        (she, "HCMUS", center),
        (he, "BKU", build.like(center, 0.8)),
    ):
        conn.execute(
            "insert into automatch.memberships (profile_id, school_id, proof)"
            " select %s, s.id, 'invitation' from automatch.schools as s where s.name = %s",
            [person, school],
        )
        build.a_face(conn, person, embedding)

    assert merge(conn, "khtn", "BKU") == 2

    assert build.complete(conn, *build.claim(conn)) == 1
    assert one(conn, "select automatch.may_see(%s, %s)", he, she)
    assert not one(conn, "select admitted from public.profiles where id = %s", without_proof)
    assert found(conn, "HCMUS") == found(conn, "KHTN") == "BKU"
    assert one(conn, "select domains from public.get_schools('BKU')") == ["hcmus.edu.vn"]


def test_school_is_not_merged_with_itself(conn):
    with refused("input_invalid"):
        merge(conn, "UIT", "uit")


def test_only_a_school_without_people_is_removed(conn):
    person = build.a_profile(conn)
    with refused("school_in_use"), conn.transaction():
        conn.execute("select public.remove_school('UIT', 'me')")
    conn.execute("delete from public.profiles where id = %s", [person])
    conn.execute("select public.remove_school('uit', 'me')")

    assert found(conn, "UIT") is None


@pytest.mark.parametrize(
    "act",
    [
        "change_school('None')",
        "set_school_open('None', true)",
        "rename_school('None', 'New')",
        "merge_schools('None', 'UIT')",
        "remove_school('None')",
        "invite_to_school('None', 'C', 1, '1 day')",
        "get_schools('None')",
        "pause_match_jobs('None')",
    ],
)
def test_school_that_is_not_on_the_list_cannot_be_changed(conn, act):
    with refused("school_unknown"):
        conn.execute(f"select * from public.{act}")


@pytest.mark.parametrize("is_open", [True, False])
def test_people_of_a_school_that_is_opened_or_closed_follow_in_steps(conn, is_open):
    add(conn, "Changing", is_open=not is_open)
    people = sorted(build.a_profile(conn, school="Changing") for _ in range(3))
    conn.execute("select public.set_school_open('changing', %s, 'me')", [is_open])
    admitted = "select array_agg(admitted order by id) from public.profiles"
    assert one(conn, admitted) == [not is_open] * 3

    last = one(conn, "select public.refresh_school_proofs('Changing', null, 2)")
    assert (last, one(conn, admitted)) == (people[1], [is_open, is_open, not is_open])
    last = one(conn, "select public.refresh_school_proofs('Changing', %s, 2)", last)
    assert (last, one(conn, admitted)) == (people[2], [is_open] * 3)
    assert one(conn, "select public.refresh_school_proofs('Changing', %s, 2)", last) is None


def test_operators_acts_are_in_the_audit_log(conn):
    add(conn, "HCMUS")
    conn.execute("select public.set_school_open('HCMUS', true, 'me')")
    conn.execute("select public.rename_school('HCMUS', 'KHTN', 'me')")
    conn.execute("select public.merge_schools('KHTN', 'UIT', 9, 'me')")
    acts = conn.execute(
        "select action from automatch.audit_log where actor = 'me' order by id"
    ).fetchall()

    assert acts == [("add_school",), ("open_school",), ("rename_school",), ("merge_schools",)]
