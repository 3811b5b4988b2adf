"""Rows of simulated people: marked as simulated, and removable."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.types.json import Jsonb

from automatch.model.faces import EyePlaces
from automatch.photos.store import photo_path
from automatch.sql.statements import load
from automatch.store.database import Connection

_SQL = load("demo")


async def find_school(conn: Connection, school: str) -> str | None:
    """Return the name of the school with a spelling, if there is one."""
    row = await (await conn.execute(_SQL["find_school"], {"school": school})).fetchone()
    return row[0] if row else None


async def add_simulated_person(
    conn: Connection,
    *,
    person_id: UUID,
    name: str,
    school: str,
    gender: str,
    birth_date: date,
    embedding: np.ndarray[Any, np.dtype[np.float32]],
    eyes: EyePlaces,
    image_sha256: str,
) -> None:
    """Add a simulated person with consent and face; an existing one is not changed.

    The face has the id of the person.
    """
    await conn.execute(
        _SQL["add_profile"],
        {
            "id": person_id,
            "name": name,
            "school": school,
            "gender": gender,
            "birth_date": birth_date,
        },
    )
    await conn.execute(_SQL["add_membership"], {"id": person_id, "school": school})
    await conn.execute(_SQL["add_consent"], {"id": person_id})
    await conn.execute(
        _SQL["add_face"],
        {
            "id": person_id,
            "image_path": photo_path(person_id),
            "image_sha256": image_sha256,
            "embedding": embedding,
            "quality": Jsonb({"eyes": asdict(eyes)}),
        },
    )


async def search_for(conn: Connection, person_id: UUID) -> None:
    """Queue a simulated person, whose embedding is there already, to be matched with all others."""
    await conn.execute(_SQL["search_for"], {"id": person_id})


async def list_simulated_people(conn: Connection) -> list[UUID]:
    cursor = await conn.execute(_SQL["list_ids"])
    return [row[0] for row in await cursor.fetchall()]


async def remove_simulated_person(conn: Connection, person_id: UUID) -> None:
    """Delete a simulated person with face and matches; never a real one."""
    await conn.execute(_SQL["remove"], {"id": person_id})
