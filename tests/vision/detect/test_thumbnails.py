"""The thumbnail shows the face wherever it is in the photo, also where pages cut a circle out."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from automatch.errors.photo import PhotoRejectedError
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import Embedder, LocalAnalyzer
from automatch.vision.detect.detector import Detection
from automatch.vision.detect.photo_copies import portrait
from automatch.vision.results import Box, FaceExtraction
from tests.support.photos import encode, pixels, shared_photo

_FACES = [
    *("biden_1.jpg", "biden_2.jpg", "harington_1.jpg", "lacamoire_1.jpg", "lacamoire_2.jpg"),
    *("leslie_1.jpg", "leslie_2.jpg", "obama_1.jpg", "obama_2.jpg", "obama_3.jpg"),
    *("obama_partial_1.jpg", "obama_partial_2.jpg", "rgba_32bit.png"),
]


def _check_eyes(whole: FaceExtraction, shown: FaceExtraction, side: int) -> None:
    """Check the places of the eyes against those that are seen in the thumbnail, on its page."""
    assert whole.eyes
    edge, top, length = whole.eyes.thumbnail
    for told, (x, y) in zip((whole.eyes.left, whole.eyes.right), shown.face.eyes, strict=True):
        seen = (edge + (x / side - 0.5) * length, top + (y / side - 0.5) * length)
        assert np.hypot(*np.subtract(told, seen)) < 0.03 * length
    assert whole.eyes.height == pytest.approx(
        pixels(whole.kept_jpeg).shape[0] / pixels(whole.kept_jpeg).shape[1], abs=1e-4
    )


def _circle(side: int) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    return np.hypot(x, y) <= side / 2


@pytest.mark.parametrize("page", [(300, 300), (300, 160), (160, 300)], ids=str)
@pytest.mark.parametrize("face", [40, 100, 150])
def test_a_face_anywhere_in_a_photo_is_in_the_circle_of_its_thumbnail(
    page: tuple[int, int], face: int
) -> None:
    width, height = page
    for left in np.linspace(0, width - face, 5).astype(int).tolist():
        for top in np.linspace(0, height - face, 5).astype(int).tolist():
            photo = Image.new("L", page)
            place = (left, top, left + face - 1, top + face - 1)
            ImageDraw.Draw(photo).ellipse(place, fill=255)
            box = Box(left, top, left + face, top + face)

            jpeg = portrait(photo.convert("RGB"), Detection(box, 1.0), 320)

            with Image.open(io.BytesIO(jpeg)) as small:
                shown = np.asarray(small.convert("L"))
            assert shown.shape[0] == shown.shape[1] >= face
            share = (shown[_circle(len(shown))] > 127).sum() / (np.asarray(photo) > 127).sum()
            assert share > 0.98, (left, top)


@pytest.mark.anyio
async def test_the_circle_of_every_real_thumbnail_shows_the_same_person(
    embedder: Embedder,
) -> None:
    seen = 0
    settings = Settings(vision=VisionSettings(threads=1))
    async with LocalAnalyzer(settings, embedder) as analyzer:
        for name in _FACES:
            try:
                whole = await analyzer.extract(shared_photo(name))
            except PhotoRejectedError:
                continue
            small = pixels(whole.thumbnail)
            assert small.shape[0] == small.shape[1]
            # On a wider page, because detectors miss faces that fill a picture.
            page = np.full((2 * len(small), 2 * len(small), 3), 128, np.uint8)
            middle = slice(len(small) // 2, len(small) // 2 + len(small))
            page[middle, middle][_circle(len(small))] = small[_circle(len(small))]
            shown = await analyzer.extract(
                encode(Image.fromarray(page), quality=95), enforce_quality=False
            )
            assert np.linalg.norm(shown.face.embedding - whole.face.embedding) < 0.3, name
            _check_eyes(whole, shown, len(small))
            seen += 1
    assert seen >= 10
