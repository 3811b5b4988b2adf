"""Photos that are sent, and stored as a worker does, and which of them wait."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from tests.support import build
from tests.support.build import claim_some, one

STORE = (
    "select public.store_face_embeddings(%s::uuid[], %s::bigint[], %s::vector[], 'dlib',"
    " %s::jsonb[], %s::jsonb[], %s::text[])"
)
COMPLETE = "select job_id, match_count from public.complete_match_jobs(%s, %s)"


def hold(conn, another_person=True, another_account="always"):
    conn.execute(
        "update public.match_settings set hold_another_person = %s, hold_another_account = %s",
        [another_person, another_account],
    )


def send(conn, person):
    """Add a photo of a person with its job; its id."""
    face = build.a_face(conn, person)
    build.a_job(conn, face)
    return face


def run(conn, embeddings):
    """Work on all jobs that wait as one batch; return {face: number of matches, or None}."""
    faces = {}
    for job, token in claim_some(conn, 50):
        faces[job] = (one(conn, "select face_id from public.match_jobs where id = %s", job), token)
    new = {job: (face, token) for job, (face, token) in faces.items() if face in embeddings}
    store(conn, new, embeddings)
    jobs, tokens = list(faces), [token for _, token in faces.values()]
    return {faces[job][0]: count for job, count in conn.execute(COMPLETE, [jobs, tokens])}


def store(conn, jobs, embeddings):
    count = len(jobs)
    vectors = [embeddings[face] for face, _ in jobs.values()]
    tokens = [token for _, token in jobs.values()]
    empty = [Jsonb({})] * count
    conn.execute(STORE, [list(jobs), tokens, vectors, empty, empty, ["dlib"] * count])


def accepted(conn, person, embedding):
    """Add a photo of a person as a worker does; its id."""
    face = send(conn, person)
    assert run(conn, {face: embedding})[face] is not None
    return face


def held(conn):
    return dict(conn.execute("select face_id, reason from automatch.held_faces").fetchall())


def told(conn, face):
    return one(
        conn,
        "select coalesce(error_code, status) from public.match_jobs where face_id = %s"
        " order by created_at desc limit 1",
        face,
    )


def found(conn):
    return {face for (face,) in conn.execute("select face_id from public.face_index").fetchall()}


def decide_photo(conn, face, release):
    conn.execute("select public.decide_held_photo(%s, %s, 'cli:linh')", [face, release])
