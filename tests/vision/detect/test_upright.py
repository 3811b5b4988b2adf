"""Photos without a note of their orientation, and people behind the uploader."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import numpy as np
import pytest
from PIL import Image

from automatch.errors.photo import PhotoRejectedError, SeveralFacesError
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import Embedder, LocalAnalyzer
from automatch.vision.models.model_files import YUNET
from tests.support.photo_cases import friend_behind, rotated_files
from tests.support.photos import (
    astronaut,
    pixels,
    shared_model,
    shared_portrait,
    shared_portraits,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def analyzer(anyio_backend: str, embedder: Embedder) -> AsyncIterator[LocalAnalyzer]:
    async with LocalAnalyzer(Settings(vision=VisionSettings(threads=2)), embedder) as opened:
        yield opened


async def test_a_photo_on_its_side_or_head_is_turned_upright(analyzer: LocalAnalyzer) -> None:
    upright, *others = [await analyzer.extract(photo) for photo in rotated_files(astronaut())]

    for other in others:
        assert np.linalg.norm(other.face.embedding - upright.face.embedding) < 0.2
        assert np.abs(pixels(other.kept_jpeg) - pixels(upright.kept_jpeg)).mean() < 6


@pytest.mark.parametrize("detector", ["hog", "yunet"])
async def test_a_portrait_in_any_turn_is_the_same_face_or_refused(
    detector: str, embedder: Embedder
) -> None:
    # benchmarks/turned_photos.py does it with all of them.
    file = shared_model(YUNET) if detector == "yunet" else None
    vision = VisionSettings(threads=2, yunet_file=file)
    async with LocalAnalyzer(Settings(vision=vision), embedder) as analyzer:
        for portrait in shared_portraits(2 if file is None else 4):
            upright, *turned = rotated_files(Image.open(io.BytesIO(portrait)).convert("RGB"))
            expected = await analyzer.extract(upright, enforce_quality=False)
            for photo in turned:
                try:
                    seen = await analyzer.extract(photo)
                except PhotoRejectedError:
                    continue
                assert np.linalg.norm(seen.face.embedding - expected.face.embedding) < 0.2


async def test_portraits_that_were_taken_for_others_are_turned_upright(
    analyzer: LocalAnalyzer,
) -> None:
    for name in ("E000298", "D000216", "B001300", "C001119", "D000629"):
        portrait = Image.open(io.BytesIO(shared_portrait(name))).convert("RGB")
        upright, *turned = [await analyzer.extract(photo) for photo in rotated_files(portrait)]
        for other in turned:
            assert np.linalg.norm(other.face.embedding - upright.face.embedding) < 0.2
            assert np.abs(pixels(other.kept_jpeg) - pixels(upright.kept_jpeg)).mean() < 6


@pytest.mark.parametrize("share", [0.3, 0.4, 0.48])
async def test_a_smaller_second_face_that_could_be_used_is_asked_about(
    share: float, analyzer: LocalAnalyzer
) -> None:
    with pytest.raises(SeveralFacesError, match=r"^2 faces"):
        await analyzer.extract(friend_behind(share))
