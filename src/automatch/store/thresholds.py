"""From which similarity on two people match, what that means, and searching again for everybody."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import class_row

from automatch.model.similarity import MatchThreshold, ThresholdPreview
from automatch.store.call import call_row, call_rows, call_value
from automatch.store.database import Connection


async def load_threshold(conn: Connection) -> MatchThreshold:
    """Return the threshold in use."""
    threshold = await call_row(conn, "get_match_threshold", class_row(MatchThreshold))
    assert threshold is not None, "match_settings has one row"
    return threshold


async def set_threshold(conn: Connection, threshold: float, *, rerun: bool, actor: str) -> int:
    """Set it for all searches from now on; how many photos are searched for again.

    Raises:
        InputInvalidError: it is not between 0 and 1.
    """
    return int(
        await call_value(conn, "set_match_threshold", threshold=threshold, rerun=rerun, actor=actor)
    )


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
    return await call_rows(
        conn,
        "preview_match_thresholds",
        class_row(ThresholdPreview),
        thresholds=list(thresholds),
        midpoint=midpoint,
        width=width,
        simulated=simulated,
    )


async def enqueue_reruns(conn: Connection, most: int = 500) -> int:
    """Queue the next photos of a search again for everybody, while fewer than *most* jobs wait."""
    return int(await call_value(conn, "enqueue_reruns", most=most))
