"""Fitting the similarity scale of a model to pairs of strangers of this installation.

A scale is two numbers, chosen so that of the pairs that searches compare, strangers of opposite
gender of one school, one in a hundred reaches 0.5, and the rates at 0.4, 0.65 and 0.9 are those of
docs/adr/0009. The midpoint is therefore the distance below which 1 % of the pairs
fall. The width is the least squares fit of the other three distances to the logistic curve through
it, each weighted by its rate: where a tail falls off like an exponential, the variance of a
quantile grows with one over the number of pairs beyond it.

Only the near tail is used, so the distribution of the other pairs does not matter. Pairs as close
as two photos of one person are left out, because they may be one person with two accounts, unless
there are too many of them for that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from automatch.errors.request import CalibrationError
from automatch.search.similarity import SimilarityScale

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from automatch.model.similarity import ComparablePeople

RATES: Mapping[float, float] = {0.4: 0.0194, 0.5: 0.01, 0.65: 0.0036, 0.9: 0.0003}
"""The share of pairs of strangers that reaches each similarity, on every scale."""

MIN_PEOPLE = 200
"""Pairs share people, so many pairs of few people say little; two halves of 454 people agreed."""
MIN_OF_A_GENDER = 50
MIN_PAIRS = 5_000
"""1 % of these are 50 beyond the midpoint, so its rate is off by about 15 %."""
_MAX_SAME_PERSON = 0.005
"""Share of the pairs; if more are that close, the people only resemble each other."""
_MIN_BEYOND = 10
"""A quantile with fewer pairs below it is not used for the width."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted scale, and how well it fits."""

    scale: SimilarityScale
    pairs: int
    """Pairs that the scale was fitted to."""
    left_out: int
    """Pairs so close that they may be one person with two accounts."""
    rates: Mapping[float, float]
    """The share of the pairs that reaches each similarity of `RATES` with this scale."""
    halves: tuple[float, float] | None
    """The rate at 0.5 in each half of the people; None when a half has too few pairs."""


def check_population(people: ComparablePeople) -> None:
    """Check that there are enough people to fit a scale.

    Raises:
        CalibrationError: there are too few; the message says what is missing.
    """
    if (
        people.total < MIN_PEOPLE
        or min(people.women, people.men) < MIN_OF_A_GENDER
        or people.pairs < MIN_PAIRS
    ):
        raise CalibrationError(
            f"There are {people.women} women and {people.men} men who can be found, in "
            f"{people.pairs} pairs inside schools; a calibration needs {MIN_PEOPLE} people, "
            f"{MIN_OF_A_GENDER} of either gender and {MIN_PAIRS} pairs. Until then keep the "
            "scale that came with the model."
        )


def fit_scale(
    distances: npt.NDArray[np.float64],
    halves: npt.NDArray[np.float64],
    *,
    same_person_u: float,
) -> Calibration:
    """Fit a scale to the distances of pairs of strangers.

    Args:
        distances: u = sqrt(2 - 2 cos) of each pair.
        halves: 0 or 1 where both people are of that half of all people, NaN elsewhere.
        same_person_u: distance up to which two photos are taken for one person.

    Raises:
        CalibrationError: there are too few pairs, or their distances are all the same.
    """
    strangers = distances > same_person_u
    if np.sum(~strangers) > _MAX_SAME_PERSON * len(distances):
        strangers[:] = True
    near = np.sort(distances[strangers])
    if len(near) < MIN_PAIRS:
        raise CalibrationError(
            f"Only {len(near)} pairs of strangers could be compared; {MIN_PAIRS} are needed."
        )
    midpoint = float(np.quantile(near, RATES[0.5]))
    above = below = 0.0
    for similarity, rate in RATES.items():
        step = math.log((1 - similarity) / similarity)
        if rate * len(near) >= _MIN_BEYOND:
            above += rate * step * (float(np.quantile(near, rate)) - midpoint)
            below += rate * step**2
    width = above / below
    if not width > 0 or midpoint + width * math.log(0.1 / 0.9) < 0:
        raise CalibrationError(
            "The distances of these pairs do not fall off as those of strangers do; are there "
            "copies of one photo among them?"
        )
    scale = SimilarityScale(midpoint=midpoint, width=width)
    parts = [distances[strangers & (halves == half)] for half in (0, 1)]
    enough = min(len(part) for part in parts) >= _MIN_BEYOND / RATES[0.5]
    return Calibration(
        scale=scale,
        pairs=len(near),
        left_out=len(distances) - len(near),
        rates={similarity: rate_at(scale, near, similarity) for similarity in RATES},
        halves=(rate_at(scale, parts[0], 0.5), rate_at(scale, parts[1], 0.5)) if enough else None,
    )


def rate_at(scale: SimilarityScale, distances: npt.NDArray[np.float64], similarity: float) -> float:
    """Return the share of the pairs that reaches a similarity between 0 and 1."""
    return float(np.mean(distances <= scale.distance(similarity)))
