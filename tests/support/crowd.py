"""Many people at once, whose faces are known already: jobs for them are only searches."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg

from automatch.photos.folder import photo_path
from tests.support.build import DIMENSIONS, a_face, a_profile

_CIRCLE = 4
_CLOSENESS = 0.97
"""Cosine to the middle of the circle: two of a circle are far over the threshold."""

_PEOPLE = """
    insert into public.profiles (id, name, school, gender, birth_date)
    select person, 'Person', %(school)s, gender, '2000-02-29'
    from unnest(%(people)s::uuid[], %(genders)s::text[]) as p (person, gender)
"""
_CONSENTS = """
    insert into public.biometric_consents (profile_id, action, text_version, text_sha256)
    select person, 'granted', t.version, t.sha256
    from unnest(%(people)s::uuid[]) as person, public.consent_texts as t
"""
_FACES = """
    insert into public.faces
        (id, profile_id, image_path, image_sha256, embedding, embedding_model)
    select face, person, left(face::text, 2) || '/' || face, sha256, embedding, 'dlib'
    from unnest(%(faces)s::uuid[], %(people)s::uuid[], %(sha256s)s::text[], %(embeddings)s)
        as f (face, person, sha256, embedding)
"""


def a_crowd(
    conn: psycopg.Connection, people: int, *, school: str = "UIT", seed: int = 0
) -> list[UUID]:
    """Write people in circles of two women and two men who look alike; return their faces.

    The faces of a circle follow each other. Its two women match its two men, and nobody else.
    """
    random = np.random.default_rng(seed)
    circles = -(-people // _CIRCLE)
    middles = _unit(random.standard_normal((circles, DIMENSIONS)))
    away = random.standard_normal((circles * _CIRCLE, DIMENSIONS))
    middles = np.repeat(middles, _CIRCLE, axis=0)
    away = _unit(away - np.sum(away * middles, axis=1, keepdims=True) * middles)
    embeddings = _unit(_CLOSENESS * middles + np.sqrt(1 - _CLOSENESS**2) * away)[:people]
    faces = [uuid4() for _ in range(people)]
    values = {
        "school": school,
        "people": [uuid4() for _ in range(people)],
        "genders": [("female", "male")[number % 2] for number in range(people)],
        "faces": faces,
        "sha256s": [hashlib.sha256(face.bytes).hexdigest() for face in faces],
        "embeddings": list(embeddings.astype(np.float32)),
    }
    with conn.transaction():
        for statement in (_PEOPLE, _CONSENTS, _FACES):
            conn.execute(statement, values)
    return faces


def a_photo(conn: psycopg.Connection, home: Path, photo: bytes, **person: Any) -> UUID:
    """Write a person and the photo they uploaded, which no worker has seen; return the face."""
    face = a_face(conn, a_profile(conn, **person))
    file = home / "photos" / f"{photo_path(face)}.upload"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_bytes(photo)
    return face


def queue(conn: psycopg.Connection, faces: list[UUID]) -> list[UUID]:
    """Queue faces in their order; return the jobs, whose commit is what a 202 acknowledges."""
    rows = conn.execute(
        "select public.enqueue_match_job(face)"
        " from unnest(%s::uuid[]) with ordinality as f (face, n) order by n",
        [faces],
    ).fetchall()
    conn.commit()
    return [row[0] for row in rows]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
