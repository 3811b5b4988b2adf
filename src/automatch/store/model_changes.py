"""The change to another model: its course in the database, for workers and for the operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from automatch.errors import AutomatchError
from automatch.model.embedding_models import ModelChange, ModelComparison, RefusedPhotos
from automatch.sql.statements import load
from automatch.store.database import Connection

_SQL = load("model_changes")


@dataclass(frozen=True, slots=True)
class PhotoToEmbed:
    """A photo to be looked at with the new model."""

    face_id: UUID
    image_path: str


@dataclass(frozen=True, slots=True)
class PhotoEmbedding:
    """What the new model sees on it."""

    photo: PhotoToEmbed
    embedding: np.ndarray[Any, np.dtype[np.float32]]
    quality: dict[str, float]
    detector: str | None


@dataclass(frozen=True, slots=True)
class PhotoRefusal:
    """Why the new model sees nothing on it."""

    photo: PhotoToEmbed
    error: AutomatchError


async def read_active_model(conn: Connection) -> str:
    """Return the model that is searched with."""
    return str(await _value(conn, "active_model"))


async def begin_change(
    conn: Connection,
    *,
    model: str,
    dimensions: int,
    midpoint: float,
    width: float,
    same_person_u: float,
    same_person_same_gender_u: float | None,
    actor: str,
) -> None:
    """Begin the change to a model, or go on with it.

    Raises:
        InputInvalidError: it is in use, or another change is not over.
        DatabaseUnavailableError: the tables are busy; ask again.
    """
    await _value(
        conn,
        "begin",
        model=model,
        dimensions=dimensions,
        midpoint=midpoint,
        width=width,
        same_person_u=same_person_u,
        same_person_same_gender_u=same_person_same_gender_u,
        actor=actor,
    )


async def read_change(conn: Connection) -> ModelChange | None:
    """Return the change that is not over."""
    async with conn.cursor(row_factory=class_row(ModelChange)) as cursor:
        await cursor.execute(_SQL["get"])
        return await cursor.fetchone()


async def list_refused(conn: Connection, examples: int = 5) -> list[RefusedPhotos]:
    """Return why photos were not seen by the new model, the commonest reason first."""
    async with conn.cursor(row_factory=class_row(RefusedPhotos)) as cursor:
        await cursor.execute(_SQL["refused"], {"examples": examples})
        return await cursor.fetchall()


async def compare_models(conn: Connection, *, photos: int, examples: int) -> ModelComparison:
    """Search for some photos with both models.

    Raises:
        InputInvalidError: there is no other model.
    """
    async with conn.cursor(row_factory=class_row(ModelComparison)) as cursor:
        await cursor.execute(_SQL["compare"], {"photos": photos, "examples": examples})
        comparison = await cursor.fetchone()
    assert comparison is not None
    return comparison


async def finish_change(conn: Connection, actor: str) -> int:
    """Put the new model in use; how many photos it has seen.

    Raises:
        ModelNotReadyError: a photo is missing.
        DatabaseUnavailableError: the tables are busy; nothing changed, ask again.
    """
    return int(await _value(conn, "finish", actor=actor))


async def roll_back_change(conn: Connection, actor: str) -> int:
    """Put the old model in use again; how many photos it has yet to see."""
    return int(await _value(conn, "roll_back", actor=actor))


async def retire_change(conn: Connection, actor: str) -> str:
    """Give up the model that is not in use; which one that was.

    Raises:
        ModelNotReadyError: matches are still being scored.
    """
    return str(await _value(conn, "retire", actor=actor))


async def read_preparing_model(conn: Connection) -> str | None:
    """Return the model that workers look at kept photos with, if there is one."""
    model = await _value(conn, "preparing_model")
    return None if model is None else str(model)


async def lease_photos(
    conn: Connection, *, model: str, limit: int, lease_s: float, anyway: bool
) -> list[PhotoToEmbed]:
    """Take the next photos for *model*; none while uploads wait, unless *anyway*."""
    async with conn.cursor(row_factory=class_row(PhotoToEmbed)) as cursor:
        await cursor.execute(
            _SQL["take"],
            {"model": model, "limit": limit, "lease_s": lease_s, "anyway": anyway},
        )
        return await cursor.fetchall()


async def store_embeddings(conn: Connection, model: str, seen: Sequence[PhotoEmbedding]) -> None:
    """Keep what *model* saw; nothing is kept of a model that is not prepared any more."""
    await _value(
        conn,
        "store",
        model=model,
        face_ids=[one.photo.face_id for one in seen],
        embeddings=[one.embedding for one in seen],
        quality=[Jsonb(one.quality) for one in seen],
        detectors=[one.detector for one in seen],
    )


async def store_refusals(conn: Connection, model: str, refused: Sequence[PhotoRefusal]) -> None:
    """Keep why *model* does not see photos."""
    await _value(
        conn,
        "refuse",
        model=model,
        face_ids=[one.photo.face_id for one in refused],
        codes=[one.error.code for one in refused],
        messages=[one.error.message for one in refused],
    )


async def rescore_matches_for_model(conn: Connection, limit: int = 200) -> int:
    """Score some matches of the other model with the one in use; 0 when there are none."""
    return int(await _value(conn, "rescore_matches_for_model", limit=limit))


async def recheck_duplicates(conn: Connection, limit: int = 500) -> int:
    """Queue some photos to be compared with all of their school again; 0 when all are."""
    return int(await _value(conn, "recheck_duplicates", limit=limit))


async def delete_unrescored_matches(conn: Connection, limit: int = 200) -> int:
    """Delete some matches of a model that was given up; 0 when there are none."""
    return int(await _value(conn, "delete_unrescored_matches", limit=limit))


async def _value(conn: Connection, statement: str, **parameters: Any) -> Any:
    cursor = await conn.execute(_SQL[statement], parameters)
    row = await cursor.fetchone()
    return row[0] if row else None
