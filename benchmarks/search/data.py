"""A population in which gender is visible, as it is in the embeddings of real faces.

Unit vectors around 40 looks, with a spectrum that falls like i^-0.9 (random pairs then spread as
they do among people), and one direction in which men and women differ by 0.11 of cosine either way.
A classifier separates the genders of ArcFace embeddings at 96 % ("ArcFace Knows the Gender, Too!");
without that, a filter by gender would be harmless to any index and a comparison would say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float32]]

LOOKS = 40
LOOK_SPREAD = 1.5
"""Of the looks, in that of the people of one look: 1 to 3 % of strangers reach the threshold."""
GENDER_COSINE = 0.11
THRESHOLD_COSINE = 0.5
"""Where similarity is 0.5 on the scale of the benchmark's model: what few strangers reach."""

LAYOUTS = {
    20_000: {8_000: 1, 2_000: 4, 200: 20},
    100_000: {50_000: 1, 20_000: 1, 8_000: 1, 2_000: 6, 200: 50},
    1_000_000: {50_000: 4, 20_000: 10, 8_000: 10, 2_000: 130, 200: 1300},
}
"""How many schools of which size make up a population."""


@dataclass(frozen=True)
class School:
    """A school with as many women as men, one photo each."""

    name: str
    ids: np.ndarray[Any, np.dtype[np.uint8]]
    """Shape (faces, 16): of a person, and of the person's face."""
    faces: Floats
    """Shape (faces, dimensions), float32 unit vectors; women first."""

    @property
    def size(self) -> int:
        return len(self.faces)

    @property
    def candidates(self) -> Floats:
        """Whom a man of the school may be matched with."""
        return self.faces[: self.size // 2]


class Population:
    """Draws schools, and people who ask, from one distribution; the same ones for one seed."""

    def __init__(self, dimensions: int, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self.dimensions = dimensions
        self._spectrum = np.arange(1, dimensions + 1, dtype=np.float32) ** np.float32(-0.45)
        looks = self._rng.standard_normal((LOOKS, dimensions), np.float32) * self._spectrum
        self._looks = looks * np.float32(LOOK_SPREAD)
        direction = self._rng.standard_normal(dimensions).astype(np.float32)
        self._gender = direction / np.linalg.norm(direction)

    def schools(self, total: int) -> Iterator[School]:
        """Draw the schools of a layout, the largest first."""
        number = 0
        for size, count in LAYOUTS[total].items():
            for _ in range(count):
                yield self.school(number, size)
                number += 1

    def school(self, number: int, size: int) -> School:
        """Draw a school with as many women as men."""
        women = self.people(size // 2, woman=True)
        men = self.people(size - size // 2, woman=False)
        ids = self._rng.integers(0, 256, (size, 16), np.uint8)
        return School(f"School {number:05}", ids, np.concatenate([women, men]))

    def people(self, count: int, *, woman: bool) -> Floats:
        """Draw unit vectors of one gender, shape (count, dimensions)."""
        look = self._looks[self._rng.integers(0, LOOKS, count)]
        own = self._rng.standard_normal((count, self.dimensions), np.float32) * self._spectrum
        faces = look + own
        faces -= (faces @ self._gender)[:, None] * self._gender
        faces /= np.linalg.norm(faces, axis=1, keepdims=True)
        side = GENDER_COSINE**0.5 * (1 if woman else -1)
        faces = faces * np.float32((1 - GENDER_COSINE) ** 0.5) + self._gender * np.float32(side)
        return faces / np.linalg.norm(faces, axis=1, keepdims=True)


def best_people(candidates: Floats, query: Floats, count: int) -> list[int]:
    """Return the rows that an exact float32 search finds, best first."""
    cosines = candidates @ query
    over = np.flatnonzero(cosines >= THRESHOLD_COSINE)
    return list(over[np.argsort(-cosines[over], kind="stable")][:count])
