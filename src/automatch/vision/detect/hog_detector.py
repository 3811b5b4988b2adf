"""The default detector: dlib's histograms of gradients, and its five landmarks.

Searches for small faces read the gradients in cells of 4 pixels where dlib's own have 8. So they
find faces of half the size, for less than half of what a picture of twice the size costs. The
scores of smaller cells are lower: dlib's own cells look again at what they find.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import dlib
import numpy as np

from automatch.vision.detect.detector import (
    AlignedFace,
    Detection,
    resized_to,
    surest_first,
    without_known,
)
from automatch.vision.embed.embedder import CHIP_SIDE
from automatch.vision.embed.similarity_transform import SimilarityTransform, estimate_yaw
from automatch.vision.models.model_files import FIVE_LANDMARKS, verified
from automatch.vision.results import Box

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from automatch.vision.models.registry import Landmarks

_MIN_CONFIDENCE = 0.1
"""Detections with a lower score are dropped. In real photos without a face, textures, animals and
folds of cloth scored up to 0.08."""

_SMALL_FACES_SIDE = 1024
_SMALLEST = 60
"""Side in pixels of the smallest face found in the resized photo, and half of it in small cells: 54
of 54 faces were."""

_MIN_CANDIDATE = -0.4
"""Least score of a candidate in small cells. Faces that dlib's own cells find reached -0.2; photos
of one person have no other candidate, or a few."""

_MAX_CANDIDATES = 30
"""Limits the work on a photo that is made to have candidates everywhere."""

_CONFIRMED_SIDE = 105
"""Side in pixels to which a candidate is resized: that of a window three levels up the pyramid."""

_LEVEL = 1.21
"""By how much a level of the pyramid is larger than the next: 6 / 5, and a little for rounding."""

_ALL_LEVELS = 1000
_STORED = (2, 1, 0, 0, 8, 0, 80, 80, _ALL_LEVELS, 64, 64)
"""What dlib's detector begins with where it is stored: two versions, an empty picture, side of a
cell, padding, window, most levels of the pyramid, smallest level. Source of the format: dlib's
`object_detector.h`, `scan_fhog_pyramid.h` and `serialize.h`."""

_UPRIGHT_CONFIDENCE = 1.0
"""Of 231 portraits, the turned ones scored up to 0.85; the upright ones scored at least 0.53, and
99 % of them 0.93."""

_CHIP_PADDING = 0.25
"""Margin around the face, as in the model's training data."""

_NOSE_DEPTH = 0.43
"""See `estimate_yaw`: the depth of the base of the nose, 0.89 times that of its tip on 246 real
faces."""


class HogDetector:
    """dlib's frontal face detector; satisfies `Detector`."""

    name = "dlib"
    landmark_set: Landmarks = "eye_corners_nose"
    upright_confidence = _UPRIGHT_CONFIDENCE

    def __init__(self, side: int, min_confidence: float, folder: Path | None = None) -> None:
        """Read the landmark model.

        Args:
            side: long side in pixels to which a photo is resized for detection.
            min_confidence: see `Detector.min_confidence`.
            folder: the folder of the model file, if not its package.

        Raises:
            ModelMissingError: the model file is not there.
            ModelDamagedError: the model file is not the one it should be.
        """
        self.min_confidence = min_confidence
        self._side = side
        self._landmarks = dlib.shape_predictor(str(verified(FIVE_LANDMARKS, folder)))
        # dlib's detector holds working memory: two threads in one detector crash the process.
        self._per_thread = threading.local()

    def find(self, photo: npt.NDArray[np.uint8]) -> list[Detection]:
        """See `Detector.find`. Most of it releases the GIL."""
        return self._search(photo, self._side)

    def find_small(self, photo: npt.NDArray[np.uint8]) -> list[Detection]:
        """See `Detector.find_small`. It takes about five times as long as `find`."""
        return self._search_fine(photo, _SMALL_FACES_SIDE, _ALL_LEVELS)

    def find_all(self, photo: npt.NDArray[np.uint8], min_side: int) -> list[Detection]:
        """See `Detector.find_all`. The time it takes grows with the size of the photo."""
        side = round(max(photo.shape) * _SMALLEST / min_side)
        if side <= self._side:
            return []
        # On the levels below, `find` has searched.
        levels = math.ceil(math.log(side / self._side, _LEVEL))
        return self._search_fine(photo, side // 2, levels)

    def align(self, photo: npt.NDArray[np.uint8], detection: Detection) -> AlignedFace:
        """See `Detector.align`. The landmarks are the corners of the eyes and the nose's base."""
        box = detection.box
        shape = self._landmarks(
            photo, dlib.rectangle(box.left, box.top, box.right - 1, box.bottom - 1)
        )
        points = np.array([(point.x, point.y) for point in shape.parts()])
        details = dlib.get_face_chip_details(shape, CHIP_SIDE, _CHIP_PADDING)
        center = details.rect.center()
        transform = SimilarityTransform.from_chip(
            (center.x, center.y), details.rect.width(), details.angle
        )
        return AlignedFace(
            chip=dlib.get_face_chip(photo, shape, CHIP_SIDE, _CHIP_PADDING),
            landmarks=tuple((float(x), float(y)) for x, y in points),
            yaw_degrees=estimate_yaw(
                points[2:4].mean(axis=0), points[:2].mean(axis=0), points[4], _NOSE_DEPTH
            ),
            inside=transform.share_inside(photo),
        )

    def _search_fine(self, photo: npt.NDArray[np.uint8], side: int, levels: int) -> list[Detection]:
        """Search in cells of 4 pixels on the largest *levels*, and confirm what is found."""
        candidates = self._search(photo, side, levels)[:_MAX_CANDIDATES]
        confirmed = [face for face in candidates if face.confidence >= _MIN_CONFIDENCE]
        for candidate in candidates:
            box, margin = candidate.box, candidate.side
            left, top = max(0, box.left - margin), max(0, box.top - margin)
            around = photo[top : box.bottom + margin, left : box.right + margin]
            size = round(max(around.shape) * _CONFIRMED_SIDE / candidate.side)
            confirmed += self._search(around, size, corner=(left, top))
        faces: list[Detection] = []
        for detection in surest_first(confirmed):
            faces += without_known([detection], faces)
        return faces

    def _search(
        self,
        photo: npt.NDArray[np.uint8],
        side: int,
        fine_levels: int = 0,
        corner: tuple[int, int] = (0, 0),
    ) -> list[Detection]:
        searched, scale = resized_to(photo, side)
        least = _MIN_CANDIDATE if fine_levels else _MIN_CONFIDENCE
        boxes, scores, _ = self._detector(fine_levels).run(searched, 0, least)
        return surest_first(
            Detection(_box(box, scale, corner), float(score))
            for box, score in zip(boxes, scores, strict=True)
        )

    def _detector(self, fine_levels: int) -> Any:
        detectors = vars(self._per_thread)
        if str(fine_levels) not in detectors:
            whole = dlib.get_frontal_face_detector()
            detectors[str(fine_levels)] = _fine(whole, fine_levels) if fine_levels else whole
        return detectors[str(fine_levels)]


def _fine(detector: Any, levels: int) -> Any:
    """Return a detector with cells of 4 pixels that searches the largest *levels* only."""
    (state,) = detector.__getstate__()
    begin = _as_stored(*_STORED)
    if not state.startswith(begin):
        raise RuntimeError("this version of dlib stores its face detector in another form")
    fine = dlib.fhog_object_detector.__new__(dlib.fhog_object_detector)
    settings = _as_stored(*_STORED[:4], 4, 0, 40, 40, levels, 32, 32)
    fine.__setstate__((settings + state[len(begin) :],))
    return fine


def _as_stored(*numbers: int) -> bytes:
    """Return numbers as dlib stores them: each as its length and its bytes, the lowest first."""
    stored = b""
    for number in numbers:
        size = max(1, -(-number.bit_length() // 8))
        stored += bytes([size]) + number.to_bytes(size, "little")
    return stored


def _box(found: Any, scale: float, corner: tuple[int, int]) -> Box:
    """Return dlib's rectangle in pixels of the kept copy."""
    left, top = corner
    return Box(
        left=left + round(found.left() / scale),
        top=top + round(found.top() / scale),
        right=left + round((found.right() + 1) / scale),
        bottom=top + round((found.bottom() + 1) / scale),
    )
