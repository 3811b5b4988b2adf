"""The similarity scales of the models, and the distances that one is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from automatch.model.embedding_models import EmbeddingModel
from automatch.model.similarity import ComparablePeople, StoredScale
from automatch.sql.statements import load
from automatch.store.call import call, call_rows, call_value
from automatch.store.database import Connection

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SQL = load("scales")


async def load_active_model(conn: Connection) -> EmbeddingModel:
    """Return the model that searches use."""
    async with conn.cursor(row_factory=class_row(EmbeddingModel)) as cursor:
        await cursor.execute(_SQL["active_model"])
        model = await cursor.fetchone()
    assert model is not None, "a database has an active model"
    return model


async def list_scales(conn: Connection) -> list[StoredScale]:
    """Return every version of every model's scale, newest first."""
    return await call_rows(conn, "list_similarity_scales", class_row(StoredScale))


async def count_people(conn: Connection, *, simulated: bool) -> ComparablePeople:
    """Return how much there is to calibrate on, with or without simulated people."""
    async with conn.cursor(row_factory=class_row(ComparablePeople)) as cursor:
        await cursor.execute(_SQL["count_people"], {"simulated": simulated})
        people = await cursor.fetchone()
    assert people is not None
    return people


async def sample_distances(
    conn: Connection, *, pairs: int, seed: int, simulated: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the distances of at most *pairs* pairs of strangers; the same seed gives the same.

    The second array tells for each that both people are of one half of the people: 0, 1 or NaN.
    """
    import numpy as np

    cursor = await conn.execute(
        _SQL["sample"], {"pairs": pairs, "seed": seed, "simulated": simulated}
    )
    row: Sequence[Any] | None = await cursor.fetchone()
    distances, halves = row or (None, None)
    return (
        np.array(distances or [], dtype=np.float64),
        np.array(halves or [], dtype=np.float64),
    )


async def add_scale(
    conn: Connection, *, model: str, midpoint: float, width: float, fit: dict[str, Any], actor: str
) -> int:
    """Put a new scale in use; its version. The matches are scored with it by `rescore_matches`."""
    return int(
        await call_value(
            conn,
            "add_similarity_scale",
            model=model,
            midpoint=midpoint,
            width=width,
            fit=Jsonb(fit),
            actor=actor,
        )
    )


async def use_scale(conn: Connection, version: int, actor: str) -> None:
    """Put a version in use that is there already.

    Raises:
        NotFoundError: there is no such version.
    """
    await call(conn, "use_similarity_scale", version=version, actor=actor)


async def rescore_matches(conn: Connection, limit: int = 500) -> int:
    """Score some matches with the scale in use; how many, 0 when all are."""
    return int(await call_value(conn, "rescore_matches", limit=limit))
