"""Samples embeddings of people who do not exist from statistics of real embeddings.

`population.npz` holds statistics of 231 official portraits (169 men, 62 women) of members of the US
Congress, works of the United States government in the public domain: for each gender the mean of
the unit embeddings, and the 16 directions in which people of one gender differ most, scaled by
their standard deviation. `benchmarks/fit_population.py` writes the file and measures the figures
below.

As with real people, only one pair of opposite gender in a hundred would be similar, too few for a
demo. So the samples differ from real people in three ways: they vary in the first 16 directions
only, their spread is wider, and the means of the genders are closer to each other. A real photo
then finds about 20 among 300 simulated people of the opposite gender at a similarity of 0.5, and 99
of 100 photos find at least one.
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
"""Spread of the simulated people along each direction, relative to real people."""
_APPROACH = 0.25
"""Share of the distance between the two means by which each is moved towards the other."""


def sample_people(gender: Gender, count: int, seed: int) -> npt.NDArray[np.float32]:
    """Return the embeddings of simulated people, one unit vector per row.

    They can be compared with embeddings of the default model (dlib's ResNet, 128 dimensions) only.
    The same seed gives the same people, and a smaller *count* the first of them.
    """
    means, directions = _statistics()
    own, other = means[gender.value], means[gender.opposite.value]
    rng = np.random.default_rng((seed, *gender.value.encode()))
    offsets = rng.standard_normal((count, len(directions))) * _SPREAD
    people = own + _APPROACH * (other - own) + offsets @ directions
    unit = people / np.linalg.norm(people, axis=1, keepdims=True)
    return np.asarray(unit, dtype=np.float32)


@cache
def _statistics() -> tuple[dict[str, npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    path = files("automatch.demo").joinpath("population.npz")
    with path.open("rb") as file, np.load(file) as stored:
        means = {name: stored[name].astype(np.float64) for name in ("male", "female")}
        return means, stored["directions"].astype(np.float64)
