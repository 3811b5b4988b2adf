"""The search against an oracle: nobody missed, nobody who must not be found, best first."""

from __future__ import annotations

from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automatch.search import DLIB
from tests.support import build
from tests.support.build import acting, at_cosine, like, one
from tests.support.bulk import write_group

CLOSE_ENOUGH = 2e-6
"""What a cosine summed in float32 may be off."""

FIND = """
    select face_id, profile_id, similarity from public.find_similar_faces_filtered(
        query_embedding := %(query)s, user_school := 'UIT', user_gender := 'male',
        exclude_profile_id := %(me)s, match_threshold := %(threshold)s, match_count := %(count)s
    )
"""

FIND_FOR_JOBS = "select * from unnest(automatch.{}) order by job_id, similarity desc, face_id"


def find(conn, query, *, threshold=0.0, count=20, me=None):
    return conn.execute(
        FIND, {"query": query, "me": me, "threshold": threshold, "count": count}
    ).fetchall()


def fill(conn, people):
    """Write {person: [embedding, ...]} at once; return {face: (person, embedding)}."""
    faces = {
        uuid4(): (person, embedding)
        for person, embeddings in people.items()
        for embedding in embeddings
    }
    build.write_people(conn, dict.fromkeys(people, ("UIT", "female")), faces)
    return faces


def check_against_oracle(found, faces, query, *, threshold, count):
    """Rank for rank, the best cosines that there are; ties may stand in either order."""
    direction = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
    cosines = {face: float(vector @ direction) for face, (_, vector) in faces.items()}
    best: dict[UUID, float] = {}
    for face, (person, _) in faces.items():
        best[person] = max(best.get(person, -1), cosines[face])
    bound = DLIB.cosine_bound(threshold)
    expected = sorted((cosine for cosine in best.values() if cosine >= bound), reverse=True)
    unclear = sum(abs(cosine - bound) < CLOSE_ENOUGH for cosine in best.values())

    assert abs(len(found) - min(count, len(expected))) <= unclear
    assert len({person for _, person, _ in found}) == len(found)
    for (face, person, similarity), cosine in zip(found, expected, strict=False):
        assert faces[face][0] == person
        assert cosines[face] == pytest.approx(cosine, abs=CLOSE_ENOUGH)
        assert cosines[face] == pytest.approx(best[person], abs=CLOSE_ENOUGH)
        # A cosine beside 1 says little about the distance that similarity is made of.
        if cosine < 0.999:
            assert similarity == pytest.approx(DLIB.similarity(cosine), abs=1e-3)


def a_school(rng, *, people, faces_each, shape, centre):
    """Return people whose embeddings lie as *shape* says around *centre*."""
    school = {}
    for number in range(people):
        if shape == "spread":
            own = at_cosine(centre, rng.uniform(0.6, 0.99), seed=int(rng.integers(2**31)))
        elif shape == "near ties":
            # Closer together than half precision can tell.
            own = at_cosine(centre, 0.9 + rng.uniform(0, 5e-5), seed=int(rng.integers(2**31)))
        else:
            own = at_cosine(centre, 0.9 + 0.01 * (number // 9), seed=number // 9)
        school[uuid4()] = [
            own if n == 0 else at_cosine(own, rng.uniform(0.9, 0.999), seed=n)
            for n in range(int(rng.integers(1, faces_each + 1)))
        ]
    return school


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**31),
    people=st.sampled_from([0, 1, 19, 20, 21, 80]),
    faces_each=st.sampled_from([1, 3]),
    shape=st.sampled_from(["spread", "near ties", "duplicates"]),
    threshold=st.sampled_from([0.0, 0.4, 0.5, 0.65]),
    count=st.sampled_from([1, 20]),
    length=st.sampled_from([1.0, 1e-3, 250.0]),
)
def test_search_finds_whom_the_oracle_finds(
    conn, seed, people, faces_each, shape, threshold, count, length
):
    rng = np.random.default_rng(seed)
    query = build.unit(seed)
    school = a_school(rng, people=people, faces_each=faces_each, shape=shape, centre=query)
    with conn.transaction(force_rollback=True):
        faces = fill(conn, school)
        found = find(conn, query * np.float32(length), threshold=threshold, count=count)

    check_against_oracle(found, faces, query, threshold=threshold, count=count)


def test_nobody_is_lost_behind_nearer_people_of_ones_own_gender_or_another_school(conn):
    query = build.unit(0)
    others = [uuid4() for _ in range(200)]
    build.write_people(
        conn,
        {one: (("HCMUS", "female"), ("UIT", "male"))[n % 2] for n, one in enumerate(others)},
        {uuid4(): (one, like(query, 0.99, seed=seed)) for seed, one in enumerate(others)},
    )
    faces = fill(conn, {uuid4(): [like(query, 0.5 + seed / 100, seed=seed)] for seed in range(25)})

    found = find(conn, query, threshold=0.4)
    assert len(found) == 20
    check_against_oracle(found, faces, query, threshold=0.4, count=20)


def test_who_cannot_be_found_is_not(conn):
    query = build.unit(0)
    hidden = {
        "undiscoverable": build.a_profile(conn, discoverable=False),
        "celebrity": build.a_profile(conn, profile_type="celebrity"),
        "same gender": build.a_profile(conn, gender="male"),
        "other school": build.a_profile(conn, school="HCMUS"),
        "excluded": build.a_profile(conn),
        "moved away": build.a_profile(conn),
        "withdrawn": build.a_profile(conn),
        "seen by nobody": build.a_profile(conn),
        "other model": build.a_profile(conn),
    }
    build.a_model(conn, "other")
    for what, person in hidden.items():
        build.a_face(
            conn,
            person,
            None if what == "seen by nobody" else query,
            model="other" if what == "other model" else "dlib",
        )
    conn.execute(
        "update public.profiles set school = 'HCMUS' where id = %s", [hidden["moved away"]]
    )
    build.record_consent(conn, hidden["withdrawn"], "withdrawn")
    moved_here = build.a_profile(conn, school="HCMUS")
    face = build.a_face(conn, moved_here, query)
    conn.execute("update public.profiles set school = 'UIT' where id = %s", [moved_here])

    found = find(conn, query, me=hidden["excluded"])
    assert [row[:2] for row in found] == [(face, moved_here)]


def test_without_somebody_to_exclude_everyone_is_searched(conn):
    person = build.a_profile(conn)
    build.a_face(conn, person, build.unit(0))

    assert [row[1] for row in find(conn, build.unit(0))] == [person]


def test_equal_faces_stand_in_one_order_every_time(conn):
    vector = build.unit(0)
    faces = sorted(build.a_face(conn, build.a_profile(conn), vector) for _ in range(30))

    assert [row[0] for row in find(conn, vector)] == faces[:20]


def test_threshold_parts_people_who_differ_by_a_millionth(conn):
    query = build.unit(0)
    person = build.a_profile(conn)
    build.a_face(conn, person, like(query, 0.5))
    ((_, _, similarity),) = find(conn, query)

    assert len(find(conn, query, threshold=similarity - 1e-6)) == 1
    assert len(find(conn, query, threshold=similarity + 1e-6)) == 0


def test_jobs_searched_for_together_find_what_each_finds_alone(conn):
    """Of several groups, one of them with an index; hidden people; a cloud of near ties."""
    rng = np.random.default_rng(0)
    query = build.unit(0)
    for school in ("UIT", "HCMUS", "FTU"):
        women = a_school(rng, people=40, faces_each=3, shape="near ties", centre=query)
        faces = {uuid4(): (woman, vector) for woman, own in women.items() for vector in own}
        build.write_people(conn, dict.fromkeys(women, (school, "female")), faces)
    conn.execute(
        "insert into automatch.group_indexes"
        " (model, school, gender, index_name, ready, m, ef_construction)"
        " values ('dlib', 'FTU', 'female', 'none', true, 24, 128)"
    )
    for number, school in enumerate(["UIT", "UIT", "HCMUS", "FTU", "Nobody's"]):
        man = build.a_profile(conn, gender="male", school=school)
        hidden = "select profile_id from public.face_index where school = %s limit %s"
        conn.execute(
            "insert into public.profile_blocks (profile_id, blocked_profile_id)"
            f" select %s, h.profile_id from ({hidden}) as h on conflict do nothing",
            [man, school, 5 * number],
        )
        build.a_job(conn, build.a_face(conn, man, query), threshold=None if number else 0.7)
    jobs, tokens = zip(*build.claim_some(conn, 5), strict=True)

    together = conn.execute(FIND_FOR_JOBS.format("search_for_jobs(%s, %s)"), [[*jobs], [*tokens]])
    alone = conn.execute(FIND_FOR_JOBS.format("search_alone(%s)"), [[*jobs]])

    found = together.fetchall()
    assert found == alone.fetchall()
    assert sorted(sum(job == one[0] for one in found) for job in jobs) == [0, 20, 20, 20, 20]


@pytest.mark.parametrize("threshold", [1.0, 1.5, 0.99999999])
def test_threshold_that_nobody_can_reach_finds_nobody(conn, threshold):
    build.a_face(conn, build.a_profile(conn), build.unit(0))

    assert find(conn, build.unit(0), threshold=threshold) == []


@pytest.mark.parametrize("gender", ["other", "", None])
def test_unknown_gender_has_no_opposite(conn, gender):
    for known in ("male", "female"):
        build.a_face(conn, build.a_profile(conn, gender=known), build.unit(0))

    assert (
        one(
            conn,
            "select count(*) from public.find_similar_faces_filtered(%s, 'UIT', %s)",
            *(build.unit(0), gender),
        )
        == 0
    )


def test_query_without_a_direction_finds_nobody(conn):
    build.a_face(conn, build.a_profile(conn), build.unit(0))

    assert find(conn, build.unit(0) * 0) == []


def test_the_form_of_the_guide_works_for_the_service(conn):
    person = build.a_profile(conn, name="Found")
    face = build.a_face(conn, person, build.unit(0))
    with acting(conn, role="service_role"):
        (row,) = conn.execute(
            "select * from find_similar_faces_filtered(query_embedding := %s,"
            " user_school := 'UIT', user_gender := 'male', exclude_profile_id := %s,"
            " match_threshold := 0.4, match_count := 20)",
            [build.unit(0), uuid4()],
        ).fetchall()
        path = one(conn, "select image_path from faces")

    assert row[:2] == (face, person)
    assert row[2] == pytest.approx(1, abs=1e-3)
    assert row[3:] == (path, "Found", "female", "UIT")


SCANS = """
    select relname, coalesce(seq_scan, 0) + coalesce(idx_scan, 0)
    from pg_stat_xact_user_tables where relname ~ '^face_index_dlib_[0-9]+$'
"""


def test_search_reads_one_partition_and_no_vector_index(conn):
    for number in range(40):
        build.a_face(conn, build.a_profile(conn, school=f"School {number}"), build.unit(number))
    build.a_face(conn, build.a_profile(conn), build.unit(0))
    conn.execute(
        "create index hnsw on public.face_index"
        " using hnsw ((embedding::halfvec(128)) halfvec_ip_ops)"
    )
    conn.execute("analyze public.face_index")
    before = dict(conn.execute(SCANS).fetchall())
    assert len(find(conn, build.unit(0))) == 1
    after = dict(conn.execute(SCANS).fetchall())
    by_vector = one(
        conn,
        "select sum(pg_stat_get_xact_numscans(c.oid)) from pg_class as c"
        " join pg_am as a on a.oid = c.relam where a.amname = 'hnsw' and c.relkind = 'i'",
    )

    read = {name for name, scans in after.items() if scans > before.get(name, 0)}
    home = one(conn, "select tableoid::regclass::text from public.face_index where school = 'UIT'")
    assert read == {home}
    assert by_vector == 0


def test_search_reads_no_other_table_whole_however_small_it_is(conn):
    for number in range(100):
        build.a_face(conn, build.a_profile(conn), like(build.unit(0), 0.8, seed=number))
    conn.execute("analyze public.faces, public.profiles, public.face_embeddings, public.face_index")
    read_whole = (
        "select relname, coalesce(seq_scan, 0) from pg_stat_xact_user_tables"
        " where relname in ('faces', 'face_embeddings_dlib', 'profiles')"
    )
    before = conn.execute(read_whole).fetchall()
    assert len(find(conn, build.unit(0))) == 20

    assert conn.execute(read_whole).fetchall() == before


@settings(max_examples=5)
@given(
    st.lists(st.floats(-1, 1.000001, allow_subnormal=False), min_size=100, max_size=200),
    st.lists(st.floats(-0.5, 1.5, allow_subnormal=False), min_size=100, max_size=200),
)
def test_scale_in_python_is_the_scale_in_the_database(conn, cosines, similarities):
    numbers = {"m": DLIB.midpoint, "w": DLIB.width}
    in_sql = conn.execute(
        "select array(select automatch.similarity(c, %(m)s, %(w)s) from unnest(%(c)s) as c),"
        " array(select automatch.cosine_bound(s, %(m)s, %(w)s)"
        " from unnest(%(s)s) as s)",
        {"c": cosines, "s": [*similarities, 0.0, 0.5, 1.0], **numbers},
    ).fetchone()

    assert in_sql[0] == pytest.approx([DLIB.similarity(c) for c in cosines], abs=1e-12)
    assert in_sql[1] == pytest.approx(
        [DLIB.cosine_bound(s) for s in [*similarities, 0.0, 0.5, 1.0]], abs=1e-12
    )


def test_scale_of_the_default_model_is_the_one_in_the_database(conn):
    assert conn.execute(
        "select midpoint, width from public.embedding_models where active and id = 'dlib'"
    ).fetchone() == (DLIB.midpoint, DLIB.width)


def test_bound_is_the_inverse_of_the_similarity():
    for similarity in np.linspace(0.01, 0.99, 99):
        assert DLIB.similarity(DLIB.cosine_bound(similarity)) == pytest.approx(similarity)


CONSENTS_READ = """
    select coalesce(seq_tup_read, 0) + coalesce(idx_scan, 0) from pg_stat_xact_user_tables
    where relname = 'biometric_consents'
"""


def test_indexing_a_face_reads_no_consent_but_its_own_person_s(conn):
    # Autovacuum has seen the tables when nobody was there any more.
    build.a_face(conn, build.a_profile(conn), build.unit(0))
    conn.execute("delete from public.profiles")
    conn.execute(
        "analyze public.profiles, public.faces, public.face_embeddings, public.biometric_consents"
    )
    conn.execute("set local session_replication_role = replica")
    ids = np.random.default_rng(0).integers(0, 256, (3000, 16), np.uint8)
    write_group(conn, "UIT", "female", ids, np.tile(np.float32(build.unit(0)), (3000, 1)))
    conn.execute(
        "insert into public.biometric_consents (profile_id, action, text_version, text_sha256)"
        " select p.id, 'granted', t.version, repeat('0', 64)"
        " from public.profiles as p, public.consent_texts as t"
    )
    face = UUID(bytes=ids[7].tobytes())
    conn.execute("delete from public.face_index where face_id = %s", [face])
    before = one(conn, CONSENTS_READ)

    conn.execute("select automatch.index_faces(%s)", [[face]])

    assert one(conn, "select count(*) from public.face_index where face_id = %s", face) == 1
    assert one(conn, CONSENTS_READ) - before < 100
