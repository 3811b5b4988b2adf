"""Whoever is found in a photo and is not its owner cannot be recognised in what is kept of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from automatch.model.faces import FaceBox
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import DlibEmbedder, FaceExtraction, LocalAnalyzer
from automatch.vision.detect.detector import Detection, Detector
from automatch.vision.embed.similarity_transform import cut_chip
from automatch.vision.load import open_detector
from automatch.vision.models.model_files import YUNET
from automatch.vision.results import FaceResult
from tests.support.photo_cases import friend_at_the_cheek, friend_behind
from tests.support.photos import pixels, shared_model, shared_photo

pytestmark = pytest.mark.anyio

_DLIB = DlibEmbedder()
_SAME_PERSON = 0.385
"""Embeddings up to this far apart count as one person's."""
_PHOTOS: dict[str, Callable[[], bytes]] = {
    "a friend behind": lambda: friend_behind(0.4),
    "a friend at the cheek": friend_at_the_cheek,
    **{
        f"two_people_{number}": lambda number=number: shared_photo(f"two_people_{number}.jpg")
        for number in (1, 2)
    },
}


@pytest.fixture(scope="module", params=["hog", "yunet"])
def vision(request: pytest.FixtureRequest) -> VisionSettings:
    file = shared_model(YUNET) if request.param == "yunet" else None
    # Asks about some of the smaller faces, and hides the others without.
    return VisionSettings(threads=1, yunet_file=file, min_face_side=70)


@pytest.fixture(scope="module")
async def analyzer(anyio_backend: str, vision: VisionSettings) -> AsyncIterator[LocalAnalyzer]:
    async with LocalAnalyzer(Settings(vision=vision), _DLIB) as opened:
        yield opened


@pytest.mark.parametrize("name", _PHOTOS)
async def test_nobody_but_the_owner_can_be_recognised_in_the_copies(
    name: str, analyzer: LocalAnalyzer, vision: VisionSettings
) -> None:
    photo, detector = _PHOTOS[name](), open_detector(vision)
    seen = await analyzer.analyze(photo)
    people = [face for face in seen.faces if face.face.confidence >= seen.min_confidence]
    assert len(people) >= 2

    for own in people:
        chosen = _place(own, seen.width, seen.height)
        extraction = await analyzer.extract(photo, chosen, enforce_quality=False)

        assert _apart(extraction.face.embedding, own) < 0.01
        for other in people:
            if other is not own:
                assert _apart(_embedding_at(other, extraction, detector), other) > _SAME_PERSON


def _place(face: FaceResult, width: int, height: int) -> FaceBox:
    box = face.face.box
    return FaceBox.of_corners(
        box.left / width, box.top / height, box.right / width, box.bottom / height
    )


def _embedding_at(face: FaceResult, extraction: FaceExtraction, detector: Detector) -> np.ndarray:
    """Return the embedding of what is left at the place of a face."""
    kept = pixels(extraction.kept_jpeg).astype(np.uint8)
    place = Detection(face.face.box, face.face.confidence, face.face.landmarks)
    chip = cut_chip(_DLIB, kept, detector.align(kept, place))
    return _DLIB.embed(chip[np.newaxis])[0]


def _apart(embedding: np.ndarray, face: FaceResult) -> float:
    return float(np.linalg.norm(embedding - face.face.embedding))
