"""People with embeddings and pending jobs, written in bulk.

Triggers are disabled meanwhile and their rows written here too, so that a school of thousands takes
seconds. The job of each person gets the position that the queue would have assigned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import psycopg
from pgvector.psycopg import register_vector

from tests.support.build import DIMENSIONS
from tests.support.postgres import Database

_PAIR_COSINE = 0.94
"""Of two people of one group: far above the threshold."""


@dataclass(frozen=True)
class Population:
    """Schools of groups; people of a group look alike, and like nobody else."""

    schools: int
    groups: int
    """In each school."""
    women: int
    """In each group; the jobs are theirs."""
    men: int = 0
    """In each group: what every job finds."""
    jobs: int | None = None
    """Spread over the schools; None: one of each woman."""

    @property
    def people(self) -> int:
        return self.schools * self.groups * (self.women + self.men)


def fill(database: Database, population: Population) -> None:
    """Write the people and their jobs into an empty database."""
    with psycopg.connect(database.owner) as conn:
        register_vector(conn)
        conn.execute("set session_replication_role = replica")
        _copy_people(conn, population)
        conn.execute(_PROFILES)
        conn.execute(_CONSENTS)
        conn.execute(_FACES)
        conn.execute(_EMBEDDINGS)
        conn.execute(_FACE_INDEX)
        conn.execute(_FEEDS)
        conn.execute(_JOBS, [population.jobs])
    with psycopg.connect(database.owner, autocommit=True) as conn:
        conn.execute("vacuum analyze")


def _copy_people(conn: psycopg.Connection, population: Population) -> None:
    conn.execute(
        "create temp table people ("
        " n integer, school text, gender text, embedding vector(128),"
        " profile_id uuid default gen_random_uuid(), face_id uuid default gen_random_uuid()"
        ") on commit drop"
    )
    random = np.random.default_rng(1)
    number = 0
    with conn.cursor().copy(
        "copy people (n, school, gender, embedding) from stdin with (format binary)"
    ) as copy:
        copy.set_types(["int4", "text", "text", "vector"])
        size = population.women + population.men
        for school in range(population.schools):
            centers = _units(random.standard_normal((population.groups, 1, DIMENSIONS)))
            away = _units(random.standard_normal((population.groups, size, DIMENSIONS)))
            toward = np.sqrt(_PAIR_COSINE)
            faces = _units(toward * centers + np.sqrt(1 - toward**2) * away).astype(np.float32)
            for group in faces:
                for member, face in enumerate(group):
                    gender = "female" if member < population.women else "male"
                    copy.write_row([number, f"School {school:04}", gender, face])
                    number += 1


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


_PROFILES = """
insert into public.profiles (id, name, school, gender, birth_date, admitted)
select profile_id, 'Person ' || n, school, gender, date '2000-02-29', true from people
"""
_CONSENTS = """
insert into public.biometric_consents (profile_id, action, text_version, text_sha256)
select profile_id, 'granted', t.version, t.sha256 from people cross join public.consent_texts as t
"""
_FACES = """
insert into public.faces (id, profile_id, image_path, image_sha256)
select
    face_id, profile_id, left(face_id::text, 2) || '/' || face_id,
    encode(sha256(face_id::text::bytea), 'hex')
from people
order by n
"""
_EMBEDDINGS = """
insert into public.face_embeddings (model, face_id, embedding)
select 'dlib', face_id, embedding from people order by n
"""
# In the order of time, not of schools: so it grows where people sign up.
_FACE_INDEX = """
insert into public.face_index (model, school, gender, face_id, profile_id, embedding)
select 'dlib', school, gender, face_id, profile_id, embedding::halfvec from people order by face_id
"""
_FEEDS = "insert into automatch.feed_counters (profile_id) select profile_id from people"
_JOBS = """
insert into public.match_jobs (face_id, user_id, school, position)
select face_id, profile_id, school, 16 * place
from (
    select face_id, profile_id, school, row_number() over (partition by school order by n) as place
    from people
    where gender = 'female'
) as waiting
order by place, school
limit %s
"""
