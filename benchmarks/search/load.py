"""Write a population into the tables of Auto-Match, and into those of the guide's design."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psycopg

from benchmarks.search.data import THRESHOLD_COSINE, School
from tests.support.bulk import as_vectors, copy_columns, write_group

MODEL = "bench"

_AS_IN_THE_GUIDE = """
    create schema guide;
    create table guide.profiles (
        id uuid primary key, school text, gender text, profile_type text default 'user'
    );
    create table guide.faces (
        id uuid primary key, profile_id uuid references guide.profiles (id), embedding vector({0})
    );
    create index on guide.profiles (school, gender) where profile_type = 'user';
    create index on guide.faces (profile_id);
"""
_HNSW = """
    create index faces_embedding_hnsw_idx on guide.faces
    using hnsw (embedding vector_cosine_ops) with (m = 16, ef_construction = 64)
"""


def prepare(conn: psycopg.Connection, dimensions: int) -> None:
    """Make both designs ready for embeddings of this length."""
    use_model(conn, dimensions)
    conn.execute(_AS_IN_THE_GUIDE.format(dimensions))


def use_model(conn: psycopg.Connection, dimensions: int) -> None:
    """Let the database search embeddings of this length, on the benchmark's own scale."""
    # Half of the scale lies where the threshold cosine is: u = sqrt(2 - 2 cos).
    conn.execute(
        "insert into public.embedding_models (id, dimensions, midpoint, width, same_person_u)"
        " values (%s, %s, %s, 0.06, 0.2)",
        [MODEL, dimensions, (2 - 2 * THRESHOLD_COSINE) ** 0.5],
    )
    conn.execute("select automatch.use_embedding_model(%s)", [MODEL])


def write(conn: psycopg.Connection, schools: Iterable[School]) -> None:
    """Copy the rows of both designs."""
    for school in schools:
        write_ours(conn, school)
        conn.execute("set session_replication_role = replica")
        women = school.size // 2
        for gender, rows in (("female", slice(women)), ("male", slice(women, None))):
            ids, faces = school.ids[rows], school.faces[rows]
            copy_columns(conn, "guide.profiles (id, school, gender)", [ids, school.name, gender])
            copy_columns(
                conn,
                "guide.faces (id, profile_id, embedding)",
                [ids, ids, as_vectors(faces, ">f4")],
            )
        conn.execute("set session_replication_role = default")


def write_ours(conn: psycopg.Connection, school: School, model: str = MODEL) -> None:
    """Copy the people of a school, their faces, search copy and feeds, past the triggers."""
    conn.execute("set session_replication_role = replica")
    women = school.size // 2
    for gender, rows in (("female", slice(women)), ("male", slice(women, None))):
        ids, faces = school.ids[rows], school.faces[rows]
        write_group(conn, school.name, gender, ids, faces, model=model)
        copy_columns(conn, "automatch.feed_counters (profile_id)", [ids])
    conn.execute("set session_replication_role = default")


def settle(conn: psycopg.Connection) -> None:
    """Let Postgres know what it holds; the rows of a school lie together as they were written."""
    for table in ("public.profiles", "public.faces", "public.face_embeddings", "public.face_index"):
        conn.execute(f"vacuum (analyze) {table}")
    for table in ("guide.profiles", "guide.faces"):
        conn.execute(f"vacuum (analyze) {table}")


def build_guides_index(conn: psycopg.Connection) -> float:
    """Build the global HNSW index; return the seconds it took."""
    began = time.perf_counter()
    conn.execute(_HNSW)
    return time.perf_counter() - began
