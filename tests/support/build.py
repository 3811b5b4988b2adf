"""Builders of rows for tests, and the connections that tests of the database use."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import numpy as np
import psycopg
import pytest
from pgvector.psycopg import register_vector
from psycopg import sql

from automatch.search import DLIB
from tests.support.postgres import Database, TestCluster, create_database, drop_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from datetime import datetime

    import numpy.typing as npt

    Vector = npt.NDArray[np.float32]

DIMENSIONS = 128
_serial = itertools.count(1)
_BLOCKED = """
    select exists (
        select from pg_stat_activity where pid = %s and cardinality(pg_blocking_pids(pid)) > 0
    )
"""
_PEOPLE = """
    insert into public.profiles (id, name, school, gender, birth_date)
    select p.id, 'Person', p.school, p.gender, '2000-02-29'
    from unnest(%(people)s::uuid[], %(schools)s::text[], %(genders)s::text[])
        as p (id, school, gender)
"""
_CONSENTS = """
    insert into public.biometric_consents (profile_id, action, text_version)
    select p, 'granted', t.version
    from unnest(%(people)s::uuid[]) as p, public.consent_texts as t
"""
_FACES = """
    insert into public.faces (id, profile_id, image_path, image_sha256)
    select f.id, f.profile_id, left(f.id::text, 2) || '/' || f.id,
        encode(sha256(convert_to(f.id::text, 'UTF8')), 'hex')
    from unnest(%(faces)s::uuid[], %(owners)s::uuid[]) as f (id, profile_id)
"""
_EMBEDDINGS = """
    insert into public.face_embeddings (model, face_id, embedding)
    select %(model)s, f.id, f.embedding
    from unnest(%(faces)s::uuid[], %(embeddings)s) as f (id, embedding)
"""


@pytest.fixture(scope="session")
def rows_database(cluster: TestCluster, template: str) -> Iterator[Database]:
    """Give one database per test process, in which nothing is ever committed."""
    create_database(cluster, "rows", template)
    yield cluster.address.named("rows")
    drop_database(cluster, "rows")


@pytest.fixture(scope="session")
def _rows_connection(rows_database: Database) -> Iterator[psycopg.Connection]:
    with connect(rows_database.owner) as conn:
        yield conn


@pytest.fixture(scope="module")
def _vacuumed_rows_connection(_rows_connection: psycopg.Connection) -> psycopg.Connection:
    # What was rolled back still lies in the tables.
    _rows_connection.autocommit = True
    _rows_connection.execute("vacuum")
    _rows_connection.autocommit = False
    return _rows_connection


@pytest.fixture
def conn(_vacuumed_rows_connection: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Give the owner's connection in a transaction that is rolled back after the test."""
    try:
        yield _vacuumed_rows_connection
    finally:
        _vacuumed_rows_connection.rollback()


def connect(dsn: str, **more: Any) -> psycopg.Connection:
    """Connect, with vectors as numpy arrays."""
    conn = psycopg.connect(dsn, **more)
    register_vector(conn)
    conn.commit()
    return conn


@contextmanager
def acting(
    conn: psycopg.Connection,
    person: UUID | None = None,
    role: str = "authenticated",
    *,
    session: UUID | None = None,
    external: bool = False,
) -> Iterator[psycopg.Connection]:
    """Act as somebody inside the open transaction, and as the login again afterwards."""
    claims = {"role": role, **({"sub": str(person)} if person else {})}
    if session is not None:
        claims["session_id"] = str(session)
    if external:
        claims["external"] = True
    # Opens a transaction where none is open, so that what follows is a savepoint in it.
    conn.execute("select")
    with conn.transaction():
        conn.execute(
            "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
            [json.dumps(claims), role],
        )
        yield conn
        conn.execute(
            "select set_config('role', 'none', true), set_config('request.jwt.claims', '', true)"
        )


@dataclass(frozen=True)
class Sessions:
    """Connections that get in each other's way, and what it takes to watch them do so."""

    first: psycopg.Connection
    second: psycopg.Connection
    third: psycopg.Connection
    watcher: psycopg.Connection
    """In autocommit; takes no locks."""
    threads: ThreadPoolExecutor
    """For calls that have to wait."""

    def submit(self, call: Callable[..., Any], conn: psycopg.Connection, *args: Any) -> Future[Any]:
        """Start *call* with *conn* in a thread; return once it waits for another's lock."""
        future = self.threads.submit(call, conn, *args)
        deadline = time.monotonic() + 60
        while not is_blocked(self.watcher, conn):
            assert not future.done(), "it did not wait"
            assert time.monotonic() < deadline, "it neither waits nor ends"
        return future


@pytest.fixture
def sessions(database: Database) -> Iterator[Sessions]:
    """Give three connections of the owner to a database of the test's own."""
    with ThreadPoolExecutor(3) as threads:
        conns = [connect(database.owner) for _ in range(3)]
        watcher = connect(database.owner, autocommit=True)
        try:
            yield Sessions(*conns, watcher, threads)
        finally:
            # Else a test that fails leaves threads behind that wait for ever.
            watcher.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            threads.shutdown()
            for conn in (*conns, watcher):
                conn.close()


def one(conn: psycopg.Connection, query: str, *parameters: Any) -> Any:
    """Return the first value of the first row, or None without a row."""
    row = conn.execute(query, parameters).fetchone()
    return row[0] if row else None


def is_blocked(watcher: psycopg.Connection, conn: psycopg.Connection) -> bool:
    """Return whether *conn* waits for another session's lock; *watcher* is in autocommit."""
    return bool(one(watcher, _BLOCKED, conn.info.backend_pid))


def a_profile(
    conn: psycopg.Connection,
    *,
    school: str | None = "UIT",
    gender: str | None = "female",
    consent: bool = True,
    name: str | None = "Person",
    birth_date: str | None = "2000-02-29",
    profile_type: str = "user",
    discoverable: bool = True,
) -> UUID:
    """Write a person who can be found."""
    profile = one(
        conn,
        "insert into public.profiles"
        " (name, school, gender, birth_date, profile_type, discoverable)"
        " values (%s, %s, %s, %s, %s, %s) returning id",
        *(name, school, gender, birth_date, profile_type, discoverable),
    )
    if consent:
        record_consent(conn, profile, "granted")
    return profile


def write_people(
    conn: psycopg.Connection,
    people: dict[UUID, tuple[str, str]],
    faces: dict[UUID, tuple[UUID, Vector]],
    *,
    model: str = "dlib",
) -> None:
    """Write {person: (school, gender)} and {face: (person, embedding)} in four statements."""
    if not people:
        return
    values = {
        "model": model,
        "people": list(people),
        "schools": [school for school, _ in people.values()],
        "genders": [gender for _, gender in people.values()],
        "faces": list(faces),
        "owners": [person for person, _ in faces.values()],
        "embeddings": [embedding for _, embedding in faces.values()],
    }
    for statement in (_PEOPLE, _CONSENTS, _FACES, _EMBEDDINGS):
        conn.execute(statement, values)


def record_consent(conn: psycopg.Connection, profile: UUID, action: str) -> None:
    """Write a row of the ledger, as no caller could."""
    conn.execute(
        # With the sum of the text, which a trigger sets where there are triggers.
        "insert into public.biometric_consents (profile_id, action, text_version, text_sha256)"
        " select %s, %s, version, sha256 from public.consent_texts",
        [profile, action],
    )


def a_face(
    conn: psycopg.Connection,
    profile: UUID,
    embedding: Vector | None = None,
    *,
    face_id: UUID | None = None,
    model: str = "dlib",
) -> UUID:
    """Write a photo of a person; without an embedding no worker has seen it yet."""
    face_id = face_id or uuid4()
    conn.execute(
        "insert into public.faces (id, profile_id, image_path, image_sha256)"
        " values (%s, %s, %s, %s)",
        [
            face_id,
            profile,
            f"{face_id.hex[:2]}/{face_id}",
            hashlib.sha256(next(_serial).to_bytes(8)).hexdigest(),
        ],
    )
    if embedding is not None:
        embed(conn, face_id, embedding, model=model)
    return face_id


def embed(conn: psycopg.Connection, face: UUID, embedding: Vector, *, model: str = "dlib") -> None:
    """Write what a model makes of a face, in place of what it made of it before."""
    conn.execute(
        "insert into public.face_embeddings (model, face_id, embedding) values (%s, %s, %s)"
        " on conflict (model, face_id) do update set embedding = excluded.embedding",
        [model, face, embedding],
    )


def a_model(conn: psycopg.Connection, model: str, dimensions: int = DIMENSIONS) -> None:
    """Write a model with the scale of the default one, and make its partitions."""
    conn.execute(
        "insert into public.embedding_models (id, dimensions, midpoint, width, same_person_u)"
        " values (%s, %s, %s, %s, 0.2)",
        [model, dimensions, DLIB.midpoint, DLIB.width],
    )
    conn.execute("select automatch.add_model_partitions(%s)", [model])


def a_job(conn: psycopg.Connection, face: UUID, **columns: Any) -> UUID:
    """Queue a face; *columns* replace what the queue would have written."""
    job = one(conn, "select public.enqueue_match_job(%s)", face)
    for column, value in columns.items():
        conn.execute(f"update public.match_jobs set {column} = %s where id = %s", [value, job])
    return job


def a_match(conn: psycopg.Connection, face: UUID) -> int | None:
    """Queue, claim and complete one face; return the number of matches."""
    a_job(conn, face)
    job, token = claim(conn)
    return complete(conn, job, token)


def claim(conn: psycopg.Connection, lease_s: float = 30) -> tuple[UUID, int]:
    """Claim the oldest job; return its id and its token."""
    (job,) = claim_some(conn, 1, lease_s)
    return job


def claim_some(conn: psycopg.Connection, limit: int, lease_s: float = 30) -> list[tuple[UUID, int]]:
    """Claim the oldest jobs; return their ids and tokens."""
    return conn.execute(
        "select id, lease_token from public.claim_match_jobs(%s, %s, make_interval(secs => %s))",
        [uuid4(), limit, lease_s],
    ).fetchall()


def complete(conn: psycopg.Connection, job: UUID, token: int) -> int | None:
    """Complete a claimed job; return the number of matches, None when the lease is lost."""
    return one(
        conn,
        "select match_count from public.complete_match_jobs(array[%s]::uuid[],"
        " array[%s]::bigint[])",
        job,
        token,
    )


def fail(conn: psycopg.Connection, job: UUID, token: int, code: str) -> bool:
    """Fail a claimed job; return whether its lease was still held."""
    return one(
        conn,
        "select count(*) = 1 from public.fail_match_jobs(array[%s]::uuid[],"
        " array[%s]::bigint[], array[%s], array['Why.'])",
        job,
        token,
        code,
    )


def a_pair(
    conn: psycopg.Connection, similarity: float = 0.8, *, seed: int = 0
) -> tuple[tuple[UUID, UUID], tuple[UUID, UUID]]:
    """Write a woman and a man who look alike, not matched yet; return (profile, face) of each."""
    center = unit(seed)
    she, he = a_profile(conn), a_profile(conn, gender="male")
    return (
        (she, a_face(conn, she, center)),
        (he, a_face(conn, he, like(center, similarity))),
    )


def unit(seed: int, dimensions: int = DIMENSIONS) -> Vector:
    """Return a random direction; two of them are strangers."""
    return normalized(np.random.default_rng(seed).standard_normal(dimensions))


def like(center: Vector, similarity: float, *, seed: int = 0) -> Vector:
    """Return a unit vector of that similarity to *center*."""
    return at_cosine(center, DLIB.cosine_bound(similarity), seed=seed)


def at_cosine(center: Vector, cosine: float, *, seed: int = 0) -> Vector:
    """Return a unit vector of that cosine to *center*."""
    away = np.random.default_rng(seed + 1_000_000).standard_normal(len(center))
    away -= away @ center * center
    away /= np.linalg.norm(away)
    return normalized(cosine * center + np.sqrt(1 - cosine**2) * away)


def normalized(vector: npt.NDArray[Any]) -> Vector:
    """Return the float32 unit vector of a direction."""
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def set_clock(conn: psycopg.Connection, now: datetime) -> None:
    """Stop the database's one clock at a time."""
    conn.execute(
        sql.SQL(
            "create or replace function automatch.now() returns timestamptz language sql volatile"
            " set search_path = pg_catalog, pg_temp as $$ select timestamptz {} $$"
        ).format(sql.Literal(now.isoformat()))
    )


@contextmanager
def refused(code: str) -> Iterator[None]:
    """Expect the database to refuse with one of our codes."""
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert caught.value.sqlstate == "AM001", caught.value
    assert caught.value.diag.message_hint == code


def set_schema_version(owner: str, version: int, oldest_program: int) -> None:
    """Have the schema say that it is another one, as a later migration will."""
    with psycopg.connect(owner, autocommit=True) as conn:
        conn.execute(
            sql.SQL(
                "create or replace function public.schema_version()"
                " returns table (version integer, oldest_program integer) language sql immutable"
                " set search_path = pg_catalog, pg_temp as $$ select {}, {} $$"
            ).format(version, oldest_program)
        )
