"""Seventy-five thousand faces: one plan at every size, and nobody missed among them.

The schools have 200 to 50,000 faces in which gender is visible, as it is in those of real people:
the faces nearest to a man's are men's.
"""

from __future__ import annotations

import re
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automatch.search import DLIB
from tests.support import build
from tests.support.build import connect, one
from tests.support.bulk import write_group
from tests.support.postgres import create_database, drop_database

LARGE = {"A": 50_000, "B": 10_000}
SMALL, SMALL_SCHOOLS = 200, 75
HOMES = """
    select name, remainder
    from unnest(%s::text[]) as name cross join generate_series(0, 15) as remainder
    where satisfies_hash_partition('public.face_index_dlib'::regclass, 16, remainder, name)
"""
FIND = "select face_id, similarity from automatch.find_candidates(%s, %s, %s, %s, %s, 20)"
FIND_IN_GROUPS = """
    select number, face_id, profile_id, cosine
    from automatch.find_in_groups('dlib', %s::extensions.vector[], %s, %s, %s, %s::uuid[], 20)
"""
GENDER = build.unit(12345)
CLOSE_ENOUGH = 2e-6
"""What a cosine summed in float32 may be off."""


def people(rng, count, gender):
    """Return unit vectors that a line parts by gender, spread about as dlib's are."""
    centre = build.unit(54321)
    vectors = 2.2 * centre + rng.standard_normal((count, build.DIMENSIONS)) / 11
    vectors += (0.4 if gender == "male" else -0.4) * GENDER
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def small_schools(conn):
    """Return names, of which the first alone shares its partition with the largest school.

    Postgres takes the groups of a partition for about equally large. So in this one it expects a
    search to need half of the rows, and would rather read all of them, for 100 people.
    """
    names = [f"C{number}" for number in range(2 * SMALL_SCHOOLS)]
    home = dict(conn.execute(HOMES, [[*LARGE, *names]]).fetchall())
    beside = [name for name in names if home[name] == home["A"]]
    return [beside[0], *(name for name in names if name not in beside)][:SMALL_SCHOOLS]


@pytest.fixture(scope="module")
def big_database(cluster, template):
    create_database(cluster, "big", template)
    address = cluster.address.named("big")
    rng = np.random.default_rng(0)
    women = {}
    with connect(address.owner, autocommit=True) as conn:
        sizes = LARGE | dict.fromkeys(small_schools(conn), SMALL)
        conn.execute("set session_replication_role = replica")
        for school, size in sizes.items():
            for gender in ("male", "female"):  # the women last: they are kept
                ids = rng.integers(0, 256, (size // 2, 16), np.uint8)
                faces = people(rng, size // 2, gender)
                write_group(conn, school, gender, ids, faces)
                women[school] = [UUID(bytes=one_id.tobytes()) for one_id in ids], faces
        conn.execute("analyze public.face_index, public.face_embeddings, public.profiles")
    yield address, women
    drop_database(cluster, "big")


@pytest.fixture(scope="module")
def big(big_database):
    """Give a connection to the database of all schools; nothing is committed."""
    with connect(big_database[0].owner) as conn:
        yield conn


@pytest.fixture(scope="module")
def schools(big_database):
    """Give a school of each size: 50,000, 10,000, and 200 faces in the partition of the first."""
    return list(big_database[1])[:3]


@pytest.fixture(scope="module")
def women(big_database):
    """Give {school: (ids, embeddings)} as they were written."""
    return big_database[1]


NEAR = {
    "p_query": "halfvec",
    "p_model": "text",
    "p_school": "text",
    "p_gender": "text",
    "p_limit": "float8",
    "p_hidden": "uuid[]",
}
RANK = {
    "p_queries": "vector[]",
    "p_numbers": "integer[]",
    "p_face_ids": "uuid[]",
    "p_profile_ids": "uuid[]",
    "p_model": "text",
    "p_bounds": "float8[]",
    "p_count": "integer",
}


def explain(conn, function, start, end, parameters, values):
    """Explain a statement of a function with values, under the function's own settings."""
    source, options = conn.execute(
        "select prosrc, proconfig from pg_proc where oid = %s::regproc", [f"automatch.{function}"]
    ).fetchone()
    statement = start + source.partition(start)[2].partition(end)[0]
    for number, name in enumerate(parameters, start=1):
        statement = re.sub(rf"\b{re.escape(name)}\b", f"${number}", statement)
    with conn.transaction(force_rollback=True):
        for option in options:
            name, _, value = option.partition("=")
            conn.execute(f"set local {name} = {value}")
        conn.execute(f"prepare search ({', '.join(parameters.values())}) as {statement}")
        literals = ", ".join(f"'{value}'" for value in values)
        lines = conn.execute(f"explain execute search ({literals})").fetchall()
        conn.execute("deallocate search")
    return "\n".join(line for (line,) in lines)


def plan_of_the_search(conn, query, school):
    """Explain what reads the group, and what ranks 30 faces of it."""
    numbers = "[" + ",".join(map(str, query)) + "]"
    near = explain(
        conn,
        *("read_near_faces", "select i.face_id, i.profile_id,", ") as n;", NEAR),
        [numbers, "dlib", school, "female", -0.9, "{}"],
    )
    ids = "{" + ",".join(str(uuid4()) for _ in range(30)) + "}"
    ones = "{" + ",".join("1" * 30) + "}"
    rank = explain(
        conn,
        *("rank_faces", "with stored as", ";\n", RANK),
        ['{"' + numbers + '"}', ones, ids, ids, "dlib", "{0.9}", 20],
    )
    return f"{near}\n{rank}"


@pytest.mark.parametrize("statistics", ["analyzed", "none"])
def test_search_has_one_plan_at_every_size(big, schools, statistics):
    query = people(np.random.default_rng(1), 1, "male")[0]
    with big.transaction(force_rollback=True):
        # A poor one, quickly made: the planner knows no better.
        big.execute(
            "create index hnsw on public.face_index"
            " using hnsw ((embedding::halfvec(128)) halfvec_ip_ops)"
            " with (m = 2, ef_construction = 4)"
        )
        if statistics == "none":
            big.execute("delete from pg_statistic where starelid::regclass::text ~ 'face'")
            big.execute("update pg_class set reltuples = -1, relpages = 0 where relname ~ 'face'")
        plans = {school: plan_of_the_search(big, query, school) for school in schools}

        for school, plan in plans.items():
            check_plan(big, school, plan)


def test_the_only_school_of_a_database_has_the_same_plan(big):
    """Postgres expects to need half of all rows here, and would rather read them all."""
    rng = np.random.default_rng(1)
    with big.transaction(force_rollback=True):
        big.execute("set local session_replication_role = replica")
        big.execute("truncate public.profiles cascade")
        for gender in ("male", "female"):
            ids = rng.integers(0, 256, (4000, 16), np.uint8)
            write_group(big, "Only", gender, ids, people(rng, 4000, gender))
        big.execute("analyze public.face_index, public.face_embeddings, public.profiles")

        check_plan(big, "Only", plan_of_the_search(big, people(rng, 1, "male")[0], "Only"))


def check_plan(conn, school, plan):
    partition = one(
        conn, "select tableoid::regclass::text from public.face_index where school = %s", school
    )
    assert set(re.findall(r"on (face_index_dlib_[0-9]+) ", plan)) == {partition}, plan
    assert re.findall(r"(face_index_dlib_\d+_pkey)", plan) == [f"{partition}_pkey"], plan
    assert "hnsw" not in plan
    assert "Seq Scan" not in plan
    # Page by page, however small a part of its partition the group is.
    assert f"Bitmap Heap Scan on {partition}" in plan
    # The candidates by their ids, never all of face_embeddings; and none compared with each other.
    assert re.search(
        r"Index Scan (using|on) face_embeddings_dlib_.*\n.*Index Cond: .*face_id = ANY", plan
    ), plan
    assert "Nested Loop" not in plan


def reads(conn, before=None):
    """Return how often each table of faces was read whole, and by an index, since *before*."""
    rows = conn.execute(
        "select relname, coalesce(seq_scan, 0), coalesce(idx_scan, 0)"
        " from pg_stat_xact_user_tables"
        " where relname ~ '^(face_embeddings_dlib|face_index_dlib_[0-9]+)$'"
    ).fetchall()
    then = before or {}
    counts = {
        name: [now - was for now, was in zip(scans, then.get(name, [0, 0]), strict=True)]
        for name, *scans in rows
    }
    return {name: scans for name, scans in counts.items() if any(scans)}


def test_what_was_read_is_what_the_plan_says(big, schools):
    query = people(np.random.default_rng(1), 1, "male")[0]
    for school in schools:
        with big.transaction(force_rollback=True):
            before = reads(big)
            found = big.execute(FIND, [query, school, "female", [], 0.5]).fetchall()
            read = reads(big, before)

        (partition,) = read.keys() - {"face_embeddings_dlib"}
        assert read[partition] == [0, 1]
        sequential, by_index = read.get("face_embeddings_dlib", [0, 0])
        assert sequential == 0
        assert len(found) <= by_index < 1000


def test_jobs_searched_for_together_read_nothing_but_their_groups(big, schools):
    """Planned with no statistics too, and for groups that lie in several partitions."""
    asked = [*schools, *schools]
    queries = list(people(np.random.default_rng(1), len(asked), "male"))
    parts = dict(
        big.execute(
            "select school, min(tableoid::regclass::text) from public.face_index"
            " where school = any (%s) group by school",
            [schools],
        ).fetchall()
    )
    with big.transaction(force_rollback=True):
        big.execute("delete from pg_statistic where starelid::regclass::text ~ 'face'")
        big.execute("update pg_class set reltuples = -1, relpages = 0 where relname ~ 'face'")
        before = reads(big)
        bounds, genders = [DLIB.cosine_bound(0.5)] * len(asked), ["female"] * len(asked)
        nobody = [uuid4() for _ in asked]
        found = big.execute(FIND_IN_GROUPS, [queries, bounds, asked, genders, nobody]).fetchall()
        read = reads(big, before)
        alone = [
            big.execute(FIND, [query, school, "female", [], 0.5]).fetchall()
            for query, school in zip(queries, asked, strict=True)
        ]

    assert [face for _, face, *_ in found] == [face for one in alone for face, _ in one]
    assert read.pop("face_embeddings_dlib", [0])[0] == 0
    assert read == {
        part: [0, sum(parts[school] == part for school in asked)] for part in set(parts.values())
    }


def truth(faces, vectors, query, threshold):
    """Return {face: cosine} of everybody who is to be found, in float64."""
    direction = query.astype(np.float64)
    cosines = vectors.astype(np.float64) @ (direction / np.linalg.norm(direction))
    bound = DLIB.cosine_bound(threshold)
    return {
        face: cosine
        for face, cosine in zip(faces, cosines, strict=True)
        if cosine >= bound - CLOSE_ENOUGH
    }


def check(found, expected, threshold):
    """Check the set that was found, and that it is as large as it has to be."""
    bound = DLIB.cosine_bound(threshold)
    sure = [cosine for cosine in expected.values() if cosine >= bound + CLOSE_ENOUGH]

    assert min(20, len(sure)) <= len(found) <= min(20, len(expected))
    assert {face for face, _ in found} <= expected.keys()
    best = sorted(expected.values(), reverse=True)[: len(found)]
    for (face, _), cosine in zip(found, best, strict=True):
        assert expected[face] == pytest.approx(cosine, abs=CLOSE_ENOUGH)


@pytest.mark.parametrize("size", [0, 1, 2], ids=["50,000", "10,000", "200"])
@pytest.mark.parametrize("threshold", [0.001, 0.3, 0.5, 0.9])
def test_nobody_is_missed_in_a_school_of_any_size(big, schools, women, size, threshold):
    school = schools[size]
    for query in people(np.random.default_rng(size), 3, "male"):
        found = big.execute(FIND, [query, school, "female", [], threshold]).fetchall()

        check(found, truth(*women[school], query, threshold), threshold)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    size=st.sampled_from([0, 1, 19, 20, 21, 60]),
    length=st.sampled_from([1.0, 1e-3, 250.0]),
    threshold=st.sampled_from([0.001, 0.4, 0.5, 0.65]),
    copies=st.sampled_from([1, 3]),
    at_threshold=st.booleans(),
)
def test_group_of_any_share_of_all_faces_is_found_whole(
    big, seed, size, length, threshold, copies, at_threshold
):
    """One face among 75,000, the people of a school who moved away, and those who came."""
    rng = np.random.default_rng(seed)
    query = people(rng, 1, "male")[0]
    bound = DLIB.cosine_bound(threshold)
    with big.transaction(force_rollback=True):
        faces, schools_of = {}, {}
        for number in range(size):
            cosine = bound if at_threshold and number % 2 else rng.uniform(bound - 0.05, 0.999)
            vector = build.at_cosine(query, cosine, seed=seed % 1000 + number // copies)
            member = uuid4()
            schools_of[member] = ("Elsewhere" if number % 5 == 0 else "New", "female")
            faces[member] = uuid4(), vector
        stored = {face: (member, vector) for member, (face, vector) in faces.items()}
        build.write_people(big, schools_of, stored)
        for member in list(faces)[::5]:
            big.execute("update public.profiles set school = 'New' where id = %s", [member])
        gone = list(faces)[3::7]
        for member in gone[::2]:
            big.execute("update public.profiles set school = 'Elsewhere' where id = %s", [member])
        for member in gone[1::2]:
            big.execute("delete from public.profiles where id = %s", [member])
        excluded = list(faces)[:1] if size > 20 else []
        found = big.execute(
            FIND, [query * np.float32(length), "New", "female", excluded, threshold]
        ).fetchall()
    here = [one for member, one in faces.items() if member not in {*gone, *excluded}]
    vectors = np.array([vector for _, vector in here]).reshape(-1, build.DIMENSIONS)

    check(found, truth([face for face, _ in here], vectors, query, threshold), threshold)
