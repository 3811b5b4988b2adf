"""A change of the model: its course in the database, for workers and for the operator.

Steps of the operator wait half a second for whoever is in the way, then change nothing and raise
`DatabaseUnavailableError`; they may be asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from automatch.errors import AutomatchError
from automatch.model.embedding_models import ModelChange, ModelComparison, RefusedPhotos
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class PhotoToEmbed:
    """A photo that the new model has not seen."""

    face_id: UUID
    image_path: str


@dataclass(frozen=True, slots=True)
class PhotoEmbedding:
    """What the new model makes of a photo."""

    photo: PhotoToEmbed
    embedding: np.ndarray[Any, np.dtype[np.float32]]
    quality: dict[str, Any]
    detector: str | None


@dataclass(frozen=True, slots=True)
class PhotoRefusal:
    """Why the new model refuses a photo."""

    photo: PhotoToEmbed
    error: AutomatchError


async def read_active_model(conn: Connection) -> str:
    """Return the model that is searched with."""
    return str(await call_value(conn, "active_embedding_model"))


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
    """
    await call(
        conn,
        "begin_model_change",
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
    return await call_row(conn, "get_model_change", class_row(ModelChange))


async def list_refused(conn: Connection, examples: int = 5) -> list[RefusedPhotos]:
    """Return why the new model refuses photos, the commonest reason first."""
    return await call_rows(conn, "list_refused_faces", class_row(RefusedPhotos), examples=examples)


async def compare_models(conn: Connection, *, photos: int, examples: int) -> ModelComparison:
    """Search for some photos with both models.

    Raises:
        InputInvalidError: there is no other model.
    """
    comparison = await call_row(
        conn, "compare_models", class_row(ModelComparison), photos=photos, examples=examples
    )
    assert comparison is not None
    return comparison


async def finish_change(conn: Connection, actor: str) -> int:
    """Put the new model in use; return how many photos it has seen.

    Raises:
        ModelNotReadyError: a photo is missing.
    """
    return int(await call_value(conn, "finish_model_change", actor=actor))


async def roll_back_change(conn: Connection, actor: str) -> int:
    """Put the old model in use again; return how many photos it has yet to see."""
    return int(await call_value(conn, "roll_back_model_change", actor=actor))


async def retire_change(conn: Connection, actor: str) -> str:
    """Delete all that the model which is not in use made of faces; return its name.

    Raises:
        ModelNotReadyError: matches are still being scored.
    """
    return str(await call_value(conn, "retire_model_change", actor=actor))


async def read_preparing_model(conn: Connection) -> str | None:
    """Return the model that workers embed stored photos with, if there is one."""
    model: str | None = await call_value(conn, "preparing_model")
    return model


async def lease_photos(
    conn: Connection, *, model: str, limit: int, lease_s: float, anyway: bool
) -> list[PhotoToEmbed]:
    """Lease the next photos for *model*; none while uploads wait, unless *anyway*."""
    return await call_rows(
        conn,
        "take_faces_to_embed",
        class_row(PhotoToEmbed),
        model=model,
        limit=limit,
        lease=timedelta(seconds=lease_s),
        anyway=anyway,
    )


async def store_embeddings(
    conn: Connection, model: str, embeddings: Sequence[PhotoEmbedding]
) -> None:
    """Store what *model* makes of photos, unless it is not prepared any more."""
    await call(
        conn,
        "store_prepared_embeddings",
        model=model,
        face_ids=[embedding.photo.face_id for embedding in embeddings],
        embeddings=[embedding.embedding for embedding in embeddings],
        quality=[Jsonb(embedding.quality) for embedding in embeddings],
        detectors=[embedding.detector for embedding in embeddings],
    )


async def store_refusals(conn: Connection, model: str, refusals: Sequence[PhotoRefusal]) -> None:
    """Store why *model* refuses photos."""
    await call(
        conn,
        "refuse_faces_to_embed",
        model=model,
        face_ids=[refusal.photo.face_id for refusal in refusals],
        codes=[refusal.error.code for refusal in refusals],
        messages=[refusal.error.message for refusal in refusals],
    )


async def rescore_matches_for_model(conn: Connection, limit: int = 200) -> int:
    """Score some matches of the other model with the one in use; return 0 when there are none."""
    return int(await call_value(conn, "rescore_matches_for_model", limit=limit))


async def recheck_duplicates(conn: Connection, limit: int = 500) -> int:
    """Queue some photos to be compared with all of their school; return 0 when all are."""
    return int(await call_value(conn, "recheck_duplicates", limit=limit))


async def delete_unrescored_matches(conn: Connection, limit: int = 200) -> int:
    """Delete some matches of a retired model; return 0 when there are none."""
    return int(await call_value(conn, "delete_unrescored_matches", limit=limit))
