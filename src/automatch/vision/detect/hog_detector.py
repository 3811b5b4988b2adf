"""The default detector: dlib's histograms of gradients, and its five landmarks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import dlib
import numpy as np

from automatch.vision.detect.detector import AlignedFace, Detection, resized_to
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
"""Side in pixels of the smallest face found in the resized photo: 54 of 54 faces were."""

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
        return self._search(photo, self._side, 0)

    def find_small(self, photo: npt.NDArray[np.uint8]) -> list[Detection]:
        """See `Detector.find_small`. It takes about eight times as long as `find`."""
        return self._search(photo, _SMALL_FACES_SIDE, 1)

    def find_all(self, photo: npt.NDArray[np.uint8], min_side: int) -> list[Detection]:
        """See `Detector.find_all`. The time it takes grows with the size of the photo."""
        side = round(max(photo.shape) * _SMALLEST / min_side)
        return self._search(photo, side, 0) if side > self._side else []

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

    def _search(self, photo: npt.NDArray[np.uint8], side: int, doublings: int) -> list[Detection]:
        searched, scale = resized_to(photo, side)
        boxes, scores, _ = self._detector().run(searched, doublings, _MIN_CONFIDENCE)
        found = [
            Detection(_box(box, scale), float(score))
            for box, score in zip(boxes, scores, strict=True)
        ]
        return sorted(found, key=lambda detection: detection.confidence, reverse=True)

    def _detector(self) -> Any:
        if not hasattr(self._per_thread, "detector"):
            self._per_thread.detector = dlib.get_frontal_face_detector()
        return self._per_thread.detector


def _box(found: Any, scale: float) -> Box:
    """Return dlib's rectangle in pixels of the kept copy."""
    return Box(
        left=round(found.left() / scale),
        top=round(found.top() / scale),
        right=round((found.right() + 1) / scale),
        bottom=round((found.bottom() + 1) / scale),
    )
