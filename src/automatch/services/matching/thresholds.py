"""The similarity from which two people match: what each would mean, and setting one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from automatch.errors.request import InputInvalidError
from automatch.model.operators import AuditEntry, Operator
from automatch.model.similarity import MatchThreshold, StoredScale, ThresholdPreview
from automatch.search.similarity import SimilarityScale
from automatch.services.operators.acts import Act, authorized, looking_at_system
from automatch.store.database import Database
from automatch.store.matching import scales, thresholds
from automatch.store.matching.model_changes import read_active_model
from automatch.store.operators import audit_log

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TRIED = tuple(step / 100 for step in range(30, 95, 5))
"""The thresholds that are worked out, from lenient to strict."""
_PAIRS = 20_000
_BARS = 40


@dataclass(frozen=True, slots=True)
class ThresholdFigures:
    """What the thresholds would mean for the people there are."""

    scale_version: int
    simulated: bool
    """Whether there are only people of the demo."""
    left_out: bool
    """Whether there are people of the demo, who do not count."""
    pairs: int
    """Pairs of strangers of opposite gender inside schools that the bars count."""
    bars: Sequence[tuple[float, float]]
    """Where each begins on the scale of similarity, and its share of the pairs in percent."""
    previews: Sequence[ThresholdPreview]
    """For each of `TRIED` and the threshold in use; empty when nobody can be found."""

    def at(self, threshold: float) -> ThresholdPreview | None:
        """Return what was worked out for a threshold, or for the nearest one."""
        return min(self.previews, key=lambda each: abs(each.threshold - threshold), default=None)


@dataclass(frozen=True, slots=True)
class ThresholdState:
    """The threshold in use, and the versions of the scale of the model in use."""

    now: MatchThreshold
    scales: Sequence[StoredScale]
    """Newest first."""
    changes: Sequence[AuditEntry]
    """The last changes of the threshold, newest first."""


async def load_threshold(db: Database, operator: Operator) -> ThresholdState:
    """Return the threshold in use, and the versions of the scale.

    Raises:
        ForbiddenError: see `looking_at_system`.
    """
    async with looking_at_system(db, operator) as conn:
        model = await read_active_model(conn)
        stored = [scale for scale in await scales.list_scales(conn) if scale.model == model]
        changes = await audit_log.list_entries(conn, 10, action=Act.SET_THRESHOLD.value)
        return ThresholdState(await thresholds.load_threshold(conn), stored, changes)


async def make_figures(db: Database) -> ThresholdFigures:
    """Work out what thresholds would mean; it takes seconds in a large installation.

    Raises:
        DatabaseUnavailableError: it took too long.
    """
    async with db.connection() as conn:
        people = await scales.count_people(conn, simulated=False)
        everybody = await scales.count_people(conn, simulated=True)
        simulated = people.total == 0
        in_use = (await thresholds.load_threshold(conn)).threshold
        previews = await thresholds.preview_thresholds(
            conn, sorted({*TRIED, in_use}), simulated=simulated
        )
        distances, _ = await scales.sample_distances(
            conn, pairs=_PAIRS, seed=1, simulated=simulated
        )
        model = await read_active_model(conn)
        [scale] = [s for s in await scales.list_scales(conn) if s.model == model and s.is_in_use]
    bars = await asyncio.to_thread(_count, distances, SimilarityScale(scale.midpoint, scale.width))
    return ThresholdFigures(
        scale.version,
        simulated,
        left_out=not simulated and everybody.total > people.total,
        pairs=len(distances),
        bars=bars,
        previews=previews,
    )


def _count(distances: npt.NDArray[np.float64], scale: SimilarityScale) -> list[tuple[float, float]]:
    import numpy as np

    if not len(distances):
        return []
    similarities = 1 / (1 + np.exp((distances - scale.midpoint) / scale.width))
    counts, edges = np.histogram(similarities, bins=_BARS, range=(0, 1))
    shares = 100 * counts / len(distances)
    return [
        (round(float(edge), 3), round(float(share), 3))
        for edge, share in zip(edges, shares, strict=False)
    ]


async def set_threshold(
    db: Database, operator: Operator, threshold: float, *, rerun: bool = False
) -> int:
    """Set it for all searches from now on; return how many photos are searched again.

    Raises:
        InputInvalidError: it is not between 0 and 1.
        ForbiddenError: see `authorized`.
    """
    if not 0 < threshold < 1:
        raise InputInvalidError("A threshold is a similarity between 0 and 1, such as 0.4.")
    async with authorized(db, operator, Act.SET_THRESHOLD) as conn:
        return await thresholds.set_threshold(conn, threshold, rerun=rerun, actor=operator.actor)


async def use_scale(db: Database, operator: Operator, version: int) -> None:
    """Go back to an earlier version of the scale, or forward again; workers score all matches.

    Raises:
        NotFoundError: there is no such version.
        ForbiddenError: see `authorized`.
    """
    async with authorized(db, operator, Act.USE_SCALE) as conn:
        await scales.use_scale(conn, version, operator.actor)
