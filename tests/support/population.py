"""Many people whose photos are embedded already, so that their jobs only search."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg

from automatch.photos.store import photo_path
from tests.support.build import DIMENSIONS, a_face, a_profile, write_people

_GROUP_SIZE = 4
_COSINE_TO_CENTER = 0.97
"""Two people of a group are far above the threshold."""


def add_people(
    conn: psycopg.Connection, people: int, *, school: str = "UIT", seed: int = 0
) -> list[UUID]:
    """Add people in groups of two women and two men who look alike; return their faces.

    The faces of a group follow one another. Its two women match its two men and nobody else.
    """
    random = np.random.default_rng(seed)
    groups = -(-people // _GROUP_SIZE)
    centers = _unit(random.standard_normal((groups, DIMENSIONS)))
    noise = random.standard_normal((groups * _GROUP_SIZE, DIMENSIONS))
    centers = np.repeat(centers, _GROUP_SIZE, axis=0)
    noise = _unit(noise - np.sum(noise * centers, axis=1, keepdims=True) * centers)
    embeddings = _unit(_COSINE_TO_CENTER * centers + np.sqrt(1 - _COSINE_TO_CENTER**2) * noise)[
        :people
    ]
    faces = [uuid4() for _ in range(people)]
    owners = [uuid4() for _ in range(people)]
    with conn.transaction():
        write_people(
            conn,
            {
                owner: (school, ("female", "male")[number % 2])
                for number, owner in enumerate(owners)
            },
            dict(zip(faces, zip(owners, embeddings.astype(np.float32), strict=True), strict=True)),
        )
    return faces


def add_photo(conn: psycopg.Connection, home: Path, photo: bytes, **person: Any) -> UUID:
    """Add a person with an uploaded photo that is not embedded yet; return the face."""
    face = a_face(conn, a_profile(conn, **person))
    file = home / "photos/uploads" / f"{photo_path(face)}.upload"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_bytes(photo)
    return face


def enqueue_faces(conn: psycopg.Connection, faces: list[UUID]) -> list[UUID]:
    """Enqueue faces in this order and commit, as an upload does before its 202; return the jobs."""
    rows = conn.execute(
        "select public.enqueue_match_job(face)"
        " from unnest(%s::uuid[]) with ordinality as f (face, n) order by n",
        [faces],
    ).fetchall()
    conn.commit()
    return [row[0] for row in rows]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
