"""From which similarity on two people match, what that means, and searching again for everybody."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import class_row

from automatch.model.similarity import MatchThreshold, ThresholdPreview
from automatch.sql.statements import load
from automatch.store.database import Connection

_SQL = load("thresholds")


async def load_threshold(conn: Connection) -> MatchThreshold:
    """Return the threshold in use."""
    async with conn.cursor(row_factory=class_row(MatchThreshold)) as cursor:
        await cursor.execute(_SQL["load"])
        threshold = await cursor.fetchone()
    assert threshold is not None, "match_settings has one row"
    return threshold


async def set_threshold(conn: Connection, threshold: float, *, rerun: bool, actor: str) -> int:
    """Set it for all searches from now on; how many photos are searched for again.

    Raises:
        InputInvalidError: it is not between 0 and 1.
    """
    cursor = await conn.execute(
        _SQL["set"], {"threshold": threshold, "rerun": rerun, "actor": actor}
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def preview_thresholds(
    conn: Connection,
    thresholds: Sequence[float],
    *,
    midpoint: float | None = None,
    width: float | None = None,
    simulated: bool = False,
) -> list[ThresholdPreview]:
    """Return what each threshold would mean, with the scale in use or another one.

    Empty when nobody can be found.
    """
    async with conn.cursor(row_factory=class_row(ThresholdPreview)) as cursor:
        await cursor.execute(
            _SQL["preview"],
            {
                "thresholds": list(thresholds),
                "midpoint": midpoint,
                "width": width,
                "simulated": simulated,
            },
        )
        return await cursor.fetchall()


async def enqueue_reruns(conn: Connection, most: int = 500) -> int:
    """Queue the next photos of a search again for everybody, while fewer than *most* jobs wait."""
    cursor = await conn.execute(_SQL["enqueue_reruns"], {"most": most})
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
