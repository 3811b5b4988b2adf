"""Embeddings of people who do not exist, drawn from what embeddings of real people are like.

`population.npz` holds statistics of 231 official portraits (169 men, 62 women) of members of the
US Congress, works of the United States government in the public domain: for each gender the mean
of the unit embeddings, and the 16 directions in which people of one gender differ most, scaled by
their standard deviation. `benchmarks/fit_population.py` made it, and measures what is said here.

Faces drawn from these statistics alone are strangers to everybody: as with real people, one pair
of opposite gender in a hundred is similar, which fills no demo. So three things are changed, none
of which looks at who searches: the directions after the 16th are left out, the 16 are widened,
and the two genders are moved a little towards each other. A real photo then finds about 20 among
300 simulated people of the opposite gender at a similarity of 0.5, and 99 of 100 photos find one.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from automatch.model.people import Gender

_SPREAD = 1.2
"""How much wider than real people the simulated ones are spread along the kept directions."""
_APPROACH = 0.25
"""Part of the distance between the means of the genders that each mean is moved by."""


def sample_people(gender: Gender, count: int, seed: int) -> npt.NDArray[np.float32]:
    """Return the embeddings of simulated people, one row of unit length each.

    They live in the space of the default model (dlib's ResNet, 128 dimensions) and may not be
    mixed with another model's. The same seed gives the same people, and a smaller *count* the
    first of them.
    """
    means, directions = _statistics()
    own, other = means[gender.value], means[gender.opposite.value]
    rng = np.random.default_rng((seed, *gender.value.encode()))
    looks = rng.standard_normal((count, len(directions))) * _SPREAD
    people = own + _APPROACH * (other - own) + looks @ directions
    unit = people / np.linalg.norm(people, axis=1, keepdims=True)
    return np.asarray(unit, dtype=np.float32)


@cache
def _statistics() -> tuple[dict[str, npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    path = files("automatch.demo").joinpath("population.npz")
    with path.open("rb") as file, np.load(file) as stored:
        means = {name: stored[name].astype(np.float64) for name in ("male", "female")}
        return means, stored["directions"].astype(np.float64)
