"""The similarity from which two people match, its effects, and reruns for everybody."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import class_row

from automatch.model.similarity import MatchThreshold, ThresholdPreview
from automatch.store.call import call_row, call_rows, call_value
from automatch.store.database import Connection


async def load_threshold(conn: Connection) -> MatchThreshold:
    """Return the current threshold."""
    threshold = await call_row(conn, "get_match_threshold", class_row(MatchThreshold))
    assert threshold is not None, "match_settings has one row"
    return threshold


async def set_threshold(conn: Connection, threshold: float, *, rerun: bool, actor: str) -> int:
    """Set it for all searches from now on; return how many photos are searched again.

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
    """Return the effect of each threshold, with the current scale or another one.

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
    """Enqueue the next photos of a rerun, while fewer than *max_pending* jobs are pending."""
    return int(await call_value(conn, "enqueue_reruns", most=most))
