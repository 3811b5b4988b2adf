"""The promise of the similarity scale, held against whole photos of real people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import combinations

import numpy as np
import pytest

from automatch.errors.photo import PhotoRejectedError
from automatch.search import DLIB
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import Embedder, LocalAnalyzer
from tests.support.photos import shared_photo, shared_strangers

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

_SAME_PERSON_U = 0.385
_SAME_PERSON_SAME_GENDER_U = 0.32
"""The bounds in the row of the default model: tests/sql/test_duplicates.py."""

_PEOPLE = {
    "biden": 2,
    "harington": 1,
    "lacamoire": 2,
    "leslie": 2,
    "obama": 3,
}


@pytest.fixture(scope="module")
async def analyzer(anyio_backend: str, embedder: Embedder) -> AsyncIterator[LocalAnalyzer]:
    async with LocalAnalyzer(Settings(vision=VisionSettings(threads=2)), embedder) as opened:
        yield opened


async def _embedded(analyzer: LocalAnalyzer, photos: list[bytes]) -> list[np.ndarray | None]:
    """Return the embedding of each photo; None of one that is refused."""

    async def see(photo: bytes) -> np.ndarray | None:
        try:
            return (await analyzer.extract(photo)).face.embedding
        except PhotoRejectedError:
            return None

    return await asyncio.gather(*(see(photo) for photo in photos))


def _u(cosine: np.ndarray | float) -> np.ndarray:
    return np.sqrt(np.maximum(2 - 2 * np.asarray(cosine), 0))


async def test_photos_of_one_person_and_of_different_people_are_on_the_right_sides(
    analyzer: LocalAnalyzer,
) -> None:
    names = [name for name, count in _PEOPLE.items() for _ in range(count)]
    photos = [
        shared_photo(f"{name}_{number}.jpg")
        for name, count in _PEOPLE.items()
        for number in range(1, count + 1)
    ]
    rows = [row for row in await _embedded(analyzer, photos) if row is not None]

    assert len(rows) == len(names)
    for (first, a), (second, b) in combinations(zip(names, rows, strict=True), 2):
        cosine = float(a @ b)
        if first == second:
            assert _u(cosine) < _SAME_PERSON_SAME_GENDER_U, first
            assert DLIB.similarity(cosine) > 0.95, first
        else:
            assert _u(cosine) > _SAME_PERSON_U, (first, second)
            assert DLIB.similarity(cosine) < 0.5, (first, second)


async def test_strangers_are_as_alike_as_the_scale_says_and_are_not_taken_for_one_person(
    analyzer: LocalAnalyzer,
) -> None:
    people = shared_strangers()
    embeddings = await _embedded(analyzer, [photo for photo, _ in people])
    found = [
        (row, gender)
        for row, (_, gender) in zip(embeddings, people, strict=True)
        if row is not None
    ]
    rows = np.stack([row for row, _ in found]).astype(np.float64)
    is_man = np.array([gender == "male" for _, gender in found])
    pairs = np.triu_indices(len(rows), 1)
    cosines = (rows @ rows.T)[pairs]
    opposite = (is_man[:, None] != is_man[None])[pairs]

    assert len(found) > 0.9 * len(people)
    assert opposite.sum() > 5000
    # The promise is 1 %.
    assert 0.005 < (cosines[opposite] >= DLIB.cosine_bound(0.5)).mean() < 0.02
    assert _u(cosines[opposite]).min() > _SAME_PERSON_U
    # What makes the bound too wide for two of one gender, and why they have another.
    assert 0.001 < (_u(cosines[~opposite]) <= _SAME_PERSON_U).mean() < 0.005
    assert _u(cosines[~opposite]).min() > _SAME_PERSON_SAME_GENDER_U
