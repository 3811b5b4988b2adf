"""Another model by force: the photos are looked at again."""

from __future__ import annotations

import psycopg
import pytest

from automatch.search import DLIB
from tests.support import build
from tests.support.build import at_cosine, one, refused

COLUMNS = """
    select c.relname, a.attstorage::text
    from pg_attribute as a join pg_class as c on c.oid = a.attrelid
    where a.attname = 'embedding' and c.relname ~ '^face_(embeddings|index)_long'
"""
USE = "select automatch.use_embedding_model(%s)"


@pytest.fixture
def models(conn):
    """Give a connection to a database that knows a model of 512 and another of 128 numbers."""
    conn.execute(
        "insert into public.embedding_models (id, dimensions, midpoint, width, same_person_u)"
        " values ('long', 512, 1.0, 0.06, 0.2), ('other', 128, %s, %s, 0.2)",
        [DLIB.midpoint, DLIB.width],
    )
    return conn


def found(conn, query):
    return [
        row[0]
        for row in conn.execute(
            "select face_id from public.find_similar_faces_filtered(%s, 'UIT', 'male')", [query]
        ).fetchall()
    ]


def test_partitions_keep_the_vectors_in_their_rows(models):
    one(models, USE, "long")

    columns = models.execute(COLUMNS).fetchall()
    assert len(columns) == 18
    for table, storage in columns:
        assert storage == ("m" if table == "face_embeddings_long" else "p")


def test_photos_are_looked_at_again_and_found_by_the_new_model(models):
    woman, man = build.a_profile(models), build.a_profile(models, gender="male")
    face = build.a_face(models, woman, build.unit(0))
    build.a_match(models, build.a_face(models, man, build.unit(1)))
    no_consent = build.a_profile(models)
    build.a_face(models, no_consent, build.unit(2))
    build.record_consent(models, no_consent, "withdrawn")
    assert one(models, USE, "long") == 2
    assert found(models, build.unit(0, 512)) == []
    claimed = models.execute(
        "select is_embedded from public.claim_match_jobs(gen_random_uuid(), 9, '1 hour')"
    ).fetchall()
    assert claimed == [(False,), (False,)]
    long = build.unit(0, 512)
    build.embed(models, face, long, model="long")

    assert found(models, at_cosine(long, 0.8)) == [face]


def test_embedding_of_another_length_is_refused(models):
    one(models, USE, "long")
    with pytest.raises(psycopg.errors.CheckViolation):
        build.a_face(models, build.a_profile(models), build.unit(0), model="long")


def test_model_finds_at_once_what_it_has_seen(models):
    models.execute("select automatch.add_model_partitions('other')")
    for number, model in enumerate(["dlib", "other", "other"]):
        build.a_face(models, build.a_profile(models), build.unit(number), model=model)
    assert one(models, USE, "other") == 1
    assert len(found(models, build.unit(1))) == 1
    assert one(models, USE, "dlib") == 2
    assert len(found(models, build.unit(0))) == 1


def test_job_in_work_is_given_back_when_the_model_changes(models):
    build.a_job(models, build.a_face(models, build.a_profile(models), build.unit(0)))
    job, token = build.claim(models)
    one(models, USE, "long")

    assert build.complete(models, job, token) is None
    assert build.claim(models)[0] == job


def test_model_in_use_stays_as_it_is_and_an_unknown_one_is_refused(models):
    face = build.a_face(models, build.a_profile(models), build.unit(0))
    assert one(models, USE, "dlib") == 0
    assert found(models, build.unit(0)) == [face]
    with refused("input_invalid"), models.transaction():
        one(models, USE, "nobody's")


def test_embeddings_of_the_model_before_are_given_up_on_request(models):
    build.a_face(models, build.a_profile(models), build.unit(0))
    one(models, USE, "long")
    assert one(models, "select count(*) from public.face_embeddings") == 1
    assert one(models, "select public.retire_model_change()") == "dlib"

    assert one(models, "select count(*) from public.face_embeddings") == 0
    with refused("input_invalid"), models.transaction():
        one(models, "select public.retire_model_change()")
