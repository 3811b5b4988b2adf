"""Pictures of a head that turns as asked, and stills that only seem to.

There are no real turned heads: those here are computed from portraits, see `turned_head.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from automatch.errors.photo import ChallengeFailedError, PhotoRejectedError
from automatch.model.faces import Turn
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import Embedder, LocalAnalyzer
from automatch.vision.head_turns import check_turns
from automatch.vision.results import FaceExtraction
from tests.support.photos import astronaut, encode, hopper, shared_portraits
from tests.support.turned_head import turned

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

_TURNS = [Turn.LEFT, Turn.RIGHT]
_SAME_PERSON_U = 0.385


@pytest.fixture(scope="module")
async def analyzer(embedder: Embedder) -> AsyncIterator[LocalAnalyzer]:
    async with LocalAnalyzer(Settings(vision=VisionSettings(threads=2)), embedder) as opened:
        yield opened


_SEEN: dict[bytes, FaceExtraction] = {}


async def _seen(analyzer: LocalAnalyzer, image: Image.Image) -> FaceExtraction:
    photo = encode(image, quality=88)
    if photo not in _SEEN:
        _SEEN[photo] = await analyzer.extract(photo, enforce_quality=False)
    return _SEEN[photo]


async def _after(
    analyzer: LocalAnalyzer,
    portrait: Image.Image,
    change: Callable[[Image.Image, FaceExtraction, int], Image.Image],
) -> list[FaceExtraction]:
    """Return a portrait, and it changed to the left and to the right of its person."""
    front = await _seen(analyzer, portrait)
    kept = Image.open(BytesIO(front.kept_jpeg))
    return [front, *[await _seen(analyzer, change(kept, front, side)) for side in (1, -1)]]


def _turned(image: Image.Image, front: FaceExtraction, side: int) -> Image.Image:
    return turned(image, front.face.box, side * 25)


def _middle(front: FaceExtraction) -> tuple[float, float]:
    box = front.face.box
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2


def _rotated(image: Image.Image, front: FaceExtraction, side: int) -> Image.Image:
    return image.rotate(side * 12, center=_middle(front))


def _sheared(image: Image.Image, front: FaceExtraction, side: int) -> Image.Image:
    shear = -0.3 * side
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        (1, shear, -shear * _middle(front)[1], 0, 1, 0),
        Image.Resampling.BILINEAR,
    )


def _still(image: Image.Image, _: FaceExtraction, __: int) -> Image.Image:
    return image


@pytest.mark.parametrize("portrait", [astronaut, hopper])
async def test_head_that_turns_as_asked_passes_and_stays_one_person(
    analyzer: LocalAnalyzer, portrait: Callable[[], Image.Image]
) -> None:
    pictures = await _after(analyzer, portrait(), _turned)

    check_turns(pictures, _TURNS)
    for picture in pictures[1:]:
        cosine = float(pictures[0].face.embedding @ picture.face.embedding)
        assert np.sqrt(2 - 2 * cosine) < _SAME_PERSON_U


async def test_other_order_one_turn_less_and_a_turned_begin_fail(analyzer: LocalAnalyzer) -> None:
    front, left, right = await _after(analyzer, hopper(), _turned)

    for pictures in ([front, right, left], [front, left], [left, left, right], [front] * 3):
        with pytest.raises(ChallengeFailedError):
            check_turns(pictures, _TURNS)


async def test_one_picture_for_two_turns_to_the_same_side_fails(
    analyzer: LocalAnalyzer,
) -> None:
    front, left, right = await _after(analyzer, hopper(), _turned)

    with pytest.raises(ChallengeFailedError):
        check_turns([front, left, right, left], [Turn.LEFT, Turn.RIGHT, Turn.LEFT])


@pytest.mark.parametrize("change", [_still, _rotated, _sheared])
async def test_still_however_it_is_turned_or_bent_fails(
    analyzer: LocalAnalyzer,
    change: Callable[[Image.Image, FaceExtraction, int], Image.Image],
) -> None:
    for portrait in (astronaut(), hopper()):
        # A bent picture may show no face any more, or a second one.
        with pytest.raises((ChallengeFailedError, PhotoRejectedError)):
            check_turns(await _after(analyzer, portrait, change), _TURNS)


async def test_portraits_from_the_front_measure_below_the_bound_of_the_first_picture(
    analyzer: LocalAnalyzer,
) -> None:
    portraits = shared_portraits(20)
    seen = [await analyzer.extract(photo, enforce_quality=False) for photo in portraits]

    assert max(abs(each.face.yaw_degrees) for each in seen) < 20
