"""Samples embeddings of people who do not exist from statistics of real embeddings.

`population.npz` holds statistics of 231 official portraits (169 men, 62 women) of members of the US
Congress, works of the United States government in the public domain: for each gender the mean of
the unit embeddings, and the 16 directions in which people of one gender differ most, scaled by
their standard deviation. `benchmarks/fit_population.py` writes the file and measures the figures
below.

As with real people, only one pair of opposite gender in a hundred would be similar, too few for a
demo. So the samples differ from real people in three ways: they vary in these directions
only, their spread is wider, and the means of the genders are closer to each other. A real photo
then finds about 15 among 300 simulated people of the opposite gender at a similarity of 0.5, and 98
of 100 photos find at least one.

The file also holds for each of `TRAITS` the combination of directions that goes with it, among them
one direction more per trait. So an embedding can be sampled for a face that is drawn already: see
`sample_people`. Of photos outside of the fit and the five portraits that each finds first, the dark
skin agrees with r = 0.52, the width of the face 0.42, glasses 0.38 and light hair 0.22.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from automatch.model.people import Gender

TRAITS = ("dark_skin", "glasses", "light_hair", "beard", "wide_face")
"""What a drawing shows of a face, in the order of the file."""

Ranks = tuple[tuple[float, float], ...]
"""Where a face stands among all people in each of `TRAITS`, as an interval within 0 and 1; (0, 1)
says nothing."""
ANYONE: Ranks = ((0.0, 1.0),) * len(TRAITS)

_SPREAD = 1.2
"""Spread of the simulated people along each direction, relative to real people."""
_APPROACH = 0.25
"""Share of the distance between the two means by which each is moved towards the other."""


def sample_people(gender: Gender, looks: Sequence[Ranks], seed: int) -> npt.NDArray[np.float32]:
    """Return the embeddings of simulated people, one unit vector for each of *looks*.

    Each is drawn from the whole population on the condition that its traits have these ranks. They
    can be compared with embeddings of the default model (dlib's ResNet, 128 dimensions) only. The
    same seed gives the same people, and a shorter list the first of them.
    """
    means, directions, traits = _statistics()
    own, other = means[gender.value], means[gender.opposite.value]
    rng = np.random.default_rng((seed, *gender.value.encode()))
    offsets = np.array([_sample_offset(rng, traits, ranks) for ranks in looks])
    offsets = offsets.reshape(-1, len(directions)) * _SPREAD
    people = own + _APPROACH * (other - own) + offsets @ directions
    unit = people / np.linalg.norm(people, axis=1, keepdims=True)
    return np.asarray(unit, dtype=np.float32)


def _sample_offset(
    rng: np.random.Generator, traits: npt.NDArray[np.float64], ranks: Ranks
) -> npt.NDArray[np.float64]:
    """Return independent normal numbers, moved as little as gives every trait its rank."""
    offset = rng.standard_normal(traits.shape[1])
    chosen = rng.uniform(*np.array(ranks).T).clip(0.001, 0.999)
    known = [i for i, interval in enumerate(ranks) if interval != (0, 1)]
    wanted = np.array([NormalDist().inv_cdf(chosen[i]) for i in known])
    some = traits[known]
    return np.asarray(offset + np.linalg.pinv(some) @ (wanted - some @ offset))


@cache
def _statistics() -> tuple[
    dict[str, npt.NDArray[np.float64]], npt.NDArray[np.float64], npt.NDArray[np.float64]
]:
    path = files("automatch.demo").joinpath("population.npz")
    with path.open("rb") as file, np.load(file) as stored:
        means = {name: stored[name].astype(np.float64) for name in ("male", "female")}
        directions, traits = (stored[name].astype(np.float64) for name in ("directions", "traits"))
        return means, directions, traits
