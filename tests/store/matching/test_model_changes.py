"""Another model beside the one in use: every state of the change, and who is found in each."""

from __future__ import annotations

import psycopg
import pytest

from automatch.search import DLIB
from tests.support import build
from tests.support.build import acting, at_cosine, like, one, refused, unit
from tests.support.model_change import (
    LONG,
    begin,
    finish,
    follow,
    is_ready,
    keep,
    retire,
    roll_back,
    see_all,
    take,
)

OF_MODELS = """
    select replace(x.name, %(model)s, 'model'), x.kind, replace(x.text, %(model)s, 'model')
    from (
        select c.relname as name, 'table' as kind, concat_ws(
            ' ', c.relrowsecurity, c.relforcerowsecurity, c.relacl, a.attstorage,
            pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid)
        ) as text
        from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attname = 'embedding'
        where c.relkind in ('r', 'p')
        union all
        select tablename, 'index', indexdef from pg_indexes
        union all
        select conrelid::regclass::text, 'constraint', pg_get_constraintdef(oid) from pg_constraint
        union all
        select tgrelid::regclass::text, 'trigger', pg_get_triggerdef(oid)
        from pg_trigger where not tgisinternal
        union all
        select tablename, 'policy', concat_ws(' ', policyname, roles, qual) from pg_policies
    ) as x
    where x.name in ('face_embeddings_' || %(model)s, 'face_index_' || %(model)s)
       or x.name ~ ('^face_index_' || %(model)s || '_[0-9]+$')
"""


def partitions(conn, model):
    """What hangs on the partitions of a model, its name and its dimensions aside."""
    return {
        (name, kind, text.replace("= 512)", "= 128)"))
        for name, kind, text in conn.execute(OF_MODELS, {"model": model}).fetchall()
    }


def found(conn, query, gender="male"):
    return [
        row[0]
        for row in conn.execute(
            "select face_id from public.find_similar_faces_filtered(%s, 'UIT', %s)", [query, gender]
        ).fetchall()
    ]


def in_index(conn, model=None):
    """The faces that can be found by a model; by the one in use unless another is named."""
    return {
        row[0]
        for row in conn.execute(
            "select face_id from public.face_index"
            " where model = coalesce(%s, public.active_embedding_model())",
            [model],
        )
    }


def dimensions(conn):
    return one(conn, "select dimensions from public.embedding_models where active")


def models_of(conn, face):
    """The models that have an embedding of a face."""
    rows = conn.execute(
        "select model from public.face_embeddings where face_id = %s order by model", [face]
    ).fetchall()
    return [row[0] for row in rows]


@pytest.fixture
def people(conn):
    """Give five women with a face each."""
    return [build.a_face(conn, build.a_profile(conn), build.unit(number)) for number in range(5)]


def owner_of(conn, face):
    return one(conn, "select profile_id from public.faces where id = %s", face)


def test_nothing_changes_for_anybody_while_it_is_prepared(conn, people):
    begin(conn)
    keep(conn, {face: unit(7, LONG) for face in take(conn, 3)})

    assert in_index(conn) == set(people)
    assert found(conn, build.unit(2)) == [people[2]]
    assert not is_ready(conn)


def test_every_photo_is_taken_once_and_the_end_is_told(conn, people):
    begin(conn)
    assert set(take(conn, 2) + take(conn, 9)) == set(people)
    assert take(conn) == []
    assert keep(conn, {face: unit(7, LONG) for face in people}) == 5
    assert take(conn) == []
    take(conn)

    assert is_ready(conn)
    row = conn.execute("select total, done, refused, waiting from public.get_model_change()")
    assert row.fetchone() == (5, 5, 0, 0)
    assert in_index(conn, "long") == set(people)


def test_the_new_model_is_searched_with_once_it_is_in_use(conn, people):
    begin(conn)
    vectors = {face: unit(100 + number, LONG) for number, face in enumerate(people)}
    assert see_all(conn, vectors) == set(people)
    assert finish(conn) == 5

    assert one(conn, "select public.active_embedding_model()") == "long"
    assert dimensions(conn) == LONG
    assert found(conn, at_cosine(vectors[people[3]], 0.95)) == [people[3]]
    assert in_index(conn, "dlib") == set(people)


def test_the_partitions_of_every_model_are_alike_and_go_with_it(conn, people):
    before = partitions(conn, "dlib")
    begin(conn)
    assert partitions(conn, "long") == before
    see_all(conn)
    finish(conn)
    follow(conn)
    retire(conn)

    assert partitions(conn, "dlib") == set()
    assert partitions(conn, "long") == before


def test_a_person_reads_the_model_of_their_face_and_nothing_of_the_other(conn, people):
    begin(conn)
    see_all(conn)
    for change, model in ((finish, "long"), (roll_back, "dlib")):
        change(conn)
        owner = owner_of(conn, people[0])
        with acting(conn, owner):
            assert conn.execute("select model from public.face_embeddings").fetchall() == [(model,)]
            for table in ("face_embeddings", "face_embeddings_dlib", "face_embeddings_long"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
                    conn.execute(f"select embedding from public.{table}")
            for table in ("face_index", "face_index_long", "face_index_long_3"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
                    conn.execute(f"select * from public.{table}")


def test_a_change_is_not_finished_while_a_photo_is_missing(conn, people):
    begin(conn)
    with refused("model_not_ready"), conn.transaction():
        finish(conn)
    see_all(conn)
    late = build.a_face(conn, build.a_profile(conn), unit(9))
    with refused("model_not_ready"), conn.transaction():
        finish(conn)
    assert one(conn, "select public.active_embedding_model()") == "dlib"
    assert see_all(conn) == {late}

    assert finish(conn) == 6


def test_what_came_in_during_the_change_is_seen_even_while_uploads_wait(conn, people):
    begin(conn)
    late = build.a_face(conn, build.a_profile(conn), unit(9))
    build.a_job(conn, people[0])

    assert take(conn) == [late]
    assert take(conn) == []
    assert len(take(conn, anyway=True)) == 5


def test_background_work_of_others_holds_nothing_up_nor_does_a_paused_queue(conn, people):
    begin(conn)
    one(conn, "select public.enqueue_match_job(%s, 3::smallint)", people[0])
    assert len(take(conn, 2)) == 2
    build.a_job(conn, people[1])
    assert take(conn, 2) == []
    conn.execute("update automatch.queue_settings set paused = true")

    assert len(take(conn, 2)) == 2


def test_what_a_worker_took_and_never_told_of_is_taken_again_and_given_up_at_last(conn, people):
    begin(conn)
    for _ in range(2):
        assert len(take(conn, lease_s=-1)) == 5
    # Which of them was to blame shows only when each is taken alone.
    for _ in range(3 * 5):
        assert len(take(conn, lease_s=-1)) == 1
    assert take(conn) == []
    take(conn)

    assert is_ready(conn)
    code, _, faces, examples = conn.execute("select * from public.list_refused_faces()").fetchone()
    assert (code, faces, set(examples)) == ("job_crashed", 5, set(people))
    assert one(conn, "select refused from public.get_model_change()") == 5


def test_photos_lost_together_are_taken_alone_and_only_the_one_to_blame_is_given_up(conn, people):
    begin(conn)
    for _ in range(2):
        assert len(take(conn, lease_s=-1)) == 5
    to_blame = people[2]
    while taken := take(conn, lease_s=-1):
        (face,) = taken
        if face != to_blame:
            keep(conn, {face: unit(7, LONG)})

    _, _, faces, examples = conn.execute("select * from public.list_refused_faces()").fetchone()
    assert (faces, examples) == (1, [to_blame])


def test_a_photo_that_the_new_model_refuses_is_not_found_by_it_and_the_reason_is_told(conn, people):
    begin(conn)
    take(conn)
    conn.execute(
        "select public.refuse_faces_to_embed('long', %s, %s, %s)",
        [people[:2], ["no_face", "no_face"], ["No face was found.", "No face was found."]],
    )
    keep(conn, {face: unit(face.int % 1000, LONG) for face in people[2:]})
    see_all(conn)
    assert finish(conn) == 3
    assert in_index(conn) == set(people[2:])
    told = conn.execute("select * from public.list_refused_faces()").fetchall()
    assert told == [("no_face", "No face was found.", 2, sorted(people[:2]))]
    roll_back(conn)

    assert in_index(conn) == set(people)
    assert found(conn, unit(0)) == [people[0]]


@pytest.mark.parametrize("state", ["preparing", "active", "rolled back"])
def test_nobody_who_left_is_found_through_the_other_model(conn, people, state):
    vectors = {face: unit(50 + number, LONG) for number, face in enumerate(people)}
    begin(conn)
    see_all(conn, vectors)
    if state != "preparing":
        finish(conn)
    if state == "rolled back":
        roll_back(conn)
    withdrawn, deleted, paused, moved, nowhere = (owner_of(conn, face) for face in people)
    build.record_consent(conn, withdrawn, "withdrawn")
    conn.execute("delete from public.profiles where id = %s", [deleted])
    conn.execute("update public.profiles set discoverable = false where id = %s", [paused])
    conn.execute("update public.profiles set school = 'FTU' where id = %s", [moved])
    conn.execute("update public.profiles set school = null where id = %s", [nowhere])

    assert in_index(conn, "dlib") == in_index(conn, "long") == {people[3]}
    if state == "preparing":
        see_all(conn)
        finish(conn)
    else:
        {"active": roll_back, "rolled back": lambda conn: (begin(conn), finish(conn))}[state](conn)
    for number in range(5):
        for query in (unit(number), vectors[people[number]]):
            if len(query) == dimensions(conn):
                assert found(conn, query) == []
    assert conn.execute("select distinct school from public.face_index").fetchall() == [("FTU",)]
    conn.execute("update public.profiles set discoverable = true where id = %s", [paused])
    assert in_index(conn) == {people[2], people[3]}


def test_an_embedding_of_the_model_before_is_not_kept_and_its_job_comes_back(conn, people):
    begin(conn)
    see_all(conn)
    late = build.a_face(conn, build.a_profile(conn))
    build.a_job(conn, late)
    job, token = build.claim(conn)
    finish(conn)
    # What the worker saw before; and a worker that has not noticed yet, with a new claim.
    for _ in range(2):
        assert (
            one(
                conn,
                "select count(*) = 1 from public.store_face_embeddings("
                "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
                " array['{}']::jsonb[], array['{}']::jsonb[])",
                *(job, token, unit(3)),
            )
            is False
        )
        assert models_of(conn, late) == []
        status, attempts = conn.execute(
            "select status, attempts from public.match_jobs where id = %s", [job]
        ).fetchone()
        assert (status, attempts) == ("pending", 0)
        job, token = build.claim(conn)

    assert one(
        conn,
        "select count(*) = 1 from public.store_face_embeddings("
        "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'long',"
        " array['{}']::jsonb[], array['{}']::jsonb[])",
        *(job, token, unit(3, LONG)),
    )
    assert models_of(conn, late) == ["long"]


def test_an_embedding_of_the_new_model_is_kept_only_while_that_is_prepared(conn, people):
    begin(conn)
    see_all(conn)
    finish(conn)

    assert keep(conn, {people[0]: unit(1, LONG)}) == 0
    assert take(conn) == []
    follow(conn)
    retire(conn)
    assert keep(conn, {people[0]: unit(1, LONG)}) == 0


def test_photos_that_came_in_since_are_seen_by_the_model_that_is_gone_back_to(conn, people):
    begin(conn)
    see_all(conn)
    finish(conn)
    late = build.a_face(conn, build.a_profile(conn), unit(70, LONG), model="long")
    assert in_index(conn) == {*people, late}
    conn.execute("delete from public.match_jobs")
    assert roll_back(conn) == 1

    assert in_index(conn) == set(people)
    jobs = conn.execute("select face_id, status from public.match_jobs").fetchall()
    assert jobs == [(late, "pending")]
    is_embedded = one(
        conn, "select is_embedded from public.claim_match_jobs(gen_random_uuid(), 9, '1 hour')"
    )
    assert is_embedded is False


def test_the_new_model_can_be_used_again_after_the_way_back(conn, people):
    begin(conn)
    see_all(conn)
    finish(conn)
    roll_back(conn)
    late = build.a_face(conn, build.a_profile(conn), unit(70))
    begin(conn)
    assert see_all(conn) == {late}
    finish(conn)

    assert in_index(conn) == {*people, late}
    assert one(conn, "select public.active_embedding_model()") == "long"


def test_one_change_at_a_time(conn, people):
    begin(conn)
    begin(conn)
    with refused("input_invalid"), conn.transaction():
        begin(conn, "other", 64)
    see_all(conn)
    finish(conn)
    for model in ("other", "long", "dlib"):
        with refused("input_invalid"), conn.transaction():
            begin(conn, model, LONG)
    follow(conn)
    assert retire(conn) == "dlib"
    with refused("input_invalid"), conn.transaction():
        roll_back(conn)
    with refused("input_invalid"), conn.transaction():
        begin(conn)
    begin(conn, "other", 64)

    assert retire(conn) == "other"
    assert one(conn, "select count(*) from public.get_model_change()") == 0


def test_the_change_by_force_is_refused_meanwhile(conn, people):
    begin(conn)
    with refused("input_invalid"), conn.transaction():
        one(conn, "select automatch.use_embedding_model('long')")
    retire(conn)

    assert one(conn, "select automatch.use_embedding_model('long')") == 5


def test_a_model_that_the_database_knows_with_other_dimensions_is_refused(conn):
    begin(conn)
    retire(conn)
    with refused("input_invalid"), conn.transaction():
        begin(conn, "long", 256)
    begin(conn)


def test_a_model_that_was_given_up_can_be_changed_to_again(conn, people):
    for model, dimensions in (("long", LONG), ("dlib", 128), ("long", LONG)):
        begin(conn, model, dimensions)
        see_all(conn, model=model, dimensions=dimensions)
        finish(conn)
        follow(conn)
        retire(conn)

        assert in_index(conn) == set(people)
        assert one(conn, "select public.active_embedding_model()") == model


def test_indexes_of_large_groups_go_with_their_model(conn, people):
    conn.execute(
        "insert into automatch.group_indexes"
        " (model, school, gender, index_name, ready, m, ef_construction)"
        " values ('dlib', 'UIT', 'female', 'face_index_of_uit', true, 8, 32)"
    )
    table = one(conn, "select tableoid::regclass::text from public.face_index limit 1")
    conn.execute(
        f"create index face_index_of_uit on {table}"
        " using hnsw ((embedding::halfvec(128)) halfvec_ip_ops)"
        " where school = 'UIT' and gender = 'female'"
    )
    scans = "select pg_stat_get_xact_numscans('face_index_of_uit'::regclass)"
    begin(conn)
    see_all(conn)
    finish(conn)
    found(conn, unit(0, LONG))
    assert one(conn, scans) == 0
    roll_back(conn)
    assert found(conn, unit(0)) == [people[0]]
    assert one(conn, scans) == 1
    begin(conn)
    see_all(conn)
    finish(conn)
    follow(conn)
    retire(conn)

    assert one(conn, "select count(*) from automatch.group_indexes") == 0
    assert one(conn, "select to_regclass('face_index_of_uit')") is None


def test_everybody_is_searched_for_again_with_the_new_model(conn, people):
    begin(conn)
    see_all(conn)
    finish(conn)

    assert one(conn, "select public.enqueue_reruns()") == 5
    assert one(conn, "select count(*) from public.match_jobs where priority = 3") == 5


def test_second_accounts_are_looked_for_again_by_the_model_in_use(conn, people):
    checks = "select face_id from automatch.duplicate_checks"
    conn.execute("delete from automatch.duplicate_checks")
    begin(conn)
    see_all(conn)
    assert conn.execute(checks).fetchall() == []
    for change in (finish, roll_back):
        change(conn)
        while one(conn, "select public.recheck_duplicates(2)"):
            pass
        assert {row[0] for row in conn.execute(checks)} == set(people)
        conn.execute("delete from automatch.duplicate_checks")
    late = build.a_face(conn, build.a_profile(conn), unit(9))

    assert conn.execute(checks).fetchall() == [(late,)]


def test_the_comparison_tells_what_goes_and_what_comes(conn):
    (she, her_face), (_, his_face) = build.a_pair(conn, 0.9, seed=1)
    another = build.a_face(conn, build.a_profile(conn, gender="male"), unit(2))
    begin(conn)
    new = unit(3, LONG)
    vectors = {
        her_face: new,
        his_face: unit(4, LONG),
        another: at_cosine(new, DLIB.cosine_bound(0.7)),
    }
    see_all(conn, vectors)
    told = conn.execute("select * from public.compare_models()").fetchone()
    photos, before, after, both, without_before, without_after, examples = told

    assert (photos, before, after, both) == (3, 2, 2, 0)
    assert (without_before, without_after) == (1, 1)
    pairs = {(one["face_id"], one["other_face_id"], one["before"] is None) for one in examples}
    her, his, third = str(her_face), str(his_face), str(another)
    assert pairs == {(her, his, False), (his, her, False), (her, third, True), (third, her, True)}
    for example in examples:
        expected = 0.7 if example["before"] is None else 0.9
        assert (example["after"] or example["before"]) == pytest.approx(expected, abs=1e-3)
    conn.execute(
        "insert into public.profile_blocks values (%s, %s)", [she, owner_of(conn, another)]
    )
    assert conn.execute("select * from public.compare_models()").fetchone()[2] == 0


@pytest.fixture
def matched(conn):
    """Give a woman with a match that both models find, and one that only dlib finds."""
    center = unit(1)
    her = build.a_face(conn, build.a_profile(conn), center)
    kept = build.a_face(conn, build.a_profile(conn, gender="male"), like(center, 0.9, seed=1))
    lost = build.a_face(conn, build.a_profile(conn, gender="male"), like(center, 0.8, seed=2))
    assert build.a_match(conn, her) == 2
    new = unit(2, LONG)
    begin(conn)
    see_all(
        conn,
        {
            her: new,
            kept: at_cosine(new, DLIB.cosine_bound(0.6)),
            lost: at_cosine(new, DLIB.cosine_bound(0.2)),
        },
    )
    return her, kept, lost


def scores(conn, her):
    rows = conn.execute(
        "select case when m.face_a_id = %s then m.face_b_id else m.face_a_id end,"
        " round(m.similarity::numeric, 3)::float8, s.model"
        " from public.matches as m join automatch.similarity_scales as s"
        " on s.version = m.scale_version",
        [her],
    ).fetchall()
    return {face: (similarity, model) for face, similarity, model in rows}


def positions(conn, her):
    return conn.execute(
        "select other_profile_id, position from automatch.feed_entries where profile_id = %s"
        " order by position",
        [owner_of(conn, her)],
    ).fetchall()


def test_matches_that_the_new_model_finds_too_are_scored_by_it_and_the_others_stay(conn, matched):
    her, kept, lost = matched
    before = positions(conn, her)
    finish(conn)
    assert scores(conn, her) == {kept: (0.9, "dlib"), lost: (0.8, "dlib")}
    follow(conn)

    assert scores(conn, her) == {kept: (0.6, "long"), lost: (0.8, "dlib")}
    after = positions(conn, her)
    # The card whose number changed was told anew, the other is where it was.
    assert dict(after)[owner_of(conn, lost)] == dict(before)[owner_of(conn, lost)]
    assert dict(after)[owner_of(conn, kept)] > max(position for _, position in before)


def test_the_way_back_brings_every_number_back(conn, matched):
    her, kept, lost = matched
    finish(conn)
    follow(conn)
    roll_back(conn)
    follow(conn)

    assert scores(conn, her) == {kept: (0.9, "dlib"), lost: (0.8, "dlib")}


def test_the_match_of_a_photo_that_is_yet_to_be_seen_is_scored_once_it_is(conn, matched):
    her, kept, lost = matched
    finish(conn)
    new = one(
        conn,
        "select embedding from public.face_embeddings where model = 'long' and face_id = %s",
        her,
    )
    late = build.a_face(conn, build.a_profile(conn, gender="male"), new, model="long")
    build.a_match(conn, late)
    assert scores(conn, her)[late] == (1.0, "long")
    conn.execute("delete from public.match_jobs")
    roll_back(conn)
    follow(conn)
    with conn.transaction(force_rollback=True):
        retire(conn)
        follow(conn)
        assert late not in scores(conn, her)
    job, token = build.claim(conn)
    one(
        conn,
        "select count(*) = 1 from public.store_face_embeddings("
        "array[%s]::uuid[], array[%s]::bigint[], array[%s]::extensions.vector[], 'dlib',"
        " array['{}']::jsonb[], array['{}']::jsonb[])",
        *(job, token, like(unit(1), 0.7)),
    )
    assert build.complete(conn, job, token) == 1
    follow(conn)
    retire(conn)
    follow(conn)

    assert scores(conn, her) == {kept: (0.9, "dlib"), lost: (0.8, "dlib"), late: (0.7, "dlib")}


def test_matches_that_only_the_old_model_found_go_when_it_is_given_up(conn, matched):
    her, kept, lost = matched
    finish(conn)
    with refused("model_not_ready"), conn.transaction():
        retire(conn)
    follow(conn)
    retire(conn)
    assert lost in scores(conn, her)
    follow(conn)

    assert scores(conn, her) == {kept: (0.6, "long")}
    card = conn.execute(
        "select match_id from automatch.feed_entries"
        " where profile_id = %s and other_profile_id = %s",
        [owner_of(conn, her), owner_of(conn, lost)],
    ).fetchone()
    assert card == (None,)


def test_a_change_that_is_given_up_before_it_takes_no_match_away(conn, matched):
    her, kept, lost = matched
    assert retire(conn) == "long"
    follow(conn)

    assert scores(conn, her) == {kept: (0.9, "dlib"), lost: (0.8, "dlib")}


def test_a_copy_of_a_group_is_of_one_model(conn, people):
    read = (
        "select known, snapshot_xmin, face_ids"
        " from public.read_search_group(%s, 'UIT', 'female', %s)"
    )
    known, snapshot_xmin, faces = conn.execute(read, ["dlib", None]).fetchone()
    assert (known, len(faces)) == (0, 5 * 16)
    begin(conn)
    keep(conn, {face: unit(7, LONG) for face in take(conn, 3)})

    assert len(conn.execute(read, ["dlib", snapshot_xmin]).fetchone()[2]) == 5 * 16
    assert len(conn.execute(read, ["long", None]).fetchone()[2]) == 3 * 16


def test_erasure_takes_the_embeddings_of_every_model_along(conn, people):
    begin(conn)
    see_all(conn)
    withdrawn, deleted, leaving = people[:3]
    build.record_consent(conn, owner_of(conn, withdrawn), "withdrawn")
    conn.execute("delete from public.faces where id = %s", [deleted])
    conn.execute("delete from public.profiles where id = %s", [owner_of(conn, leaving)])

    for table in ("face_embeddings", "face_index"):
        left = conn.execute(f"select model, face_id from public.{table}").fetchall()
        assert set(left) == {(model, face) for model in ("dlib", "long") for face in people[3:]}


def test_an_embedding_of_another_length_is_refused_by_every_model(conn, people):
    begin(conn)
    for model, length in (("dlib", LONG), ("long", 128)):
        with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
            build.embed(conn, people[0], unit(1, length), model=model)
