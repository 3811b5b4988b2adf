"""Where the faces of a photo are, and each face upright and centred for the embedder."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dlib
import numpy as np
from PIL import Image

from automatch.vision.embedder import CHIP_SIDE
from automatch.vision.model_files import FIVE_LANDMARKS, verified
from automatch.vision.seen import Box

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

_LEAST_CONFIDENCE = 0.2
"""What scores less is no face. In 250 real photos every face scored 0.5 and more, and none fell
under 0.2 rotated by 25 degrees, darkened or badly compressed. Textures, animals and folds of cloth
reached 0.08."""

_SECOND_LOOK_SIDE = 1024
_CHIP_PADDING = 0.25
"""Margin round the face that the model was trained with."""


@dataclass(frozen=True)
class Finding:
    """A face as the detector reports it."""

    box: Box
    confidence: float

    @property
    def side(self) -> int:
        """The longer side of the box in pixels of the kept copy."""
        return max(self.box.width, self.box.height)


class FaceDetector:
    """dlib's frontal face detector and its five landmarks. May be shared by threads."""

    def __init__(self, side: int, folder: Path | None = None) -> None:
        """Read the landmark model.

        Args:
            side: long side in pixels of the picture that is searched.
            folder: where the model file lies, if not in its package.

        Raises:
            ModelMissingError: the model file is not there.
            ModelDamagedError: the model file is not the one it should be.
        """
        self._side = side
        self._landmarks = dlib.shape_predictor(str(verified(FIVE_LANDMARKS, folder)))
        # dlib's detector keeps its work in itself: two threads in one detector crash the process.
        self._of_thread = threading.local()

    def find(self, photo: npt.NDArray[np.uint8]) -> list[Finding]:
        """Return the faces in an RGB photo, most certain first. Mostly without the GIL.

        A photo without a face costs about eight times as much, for a second and closer look.
        """
        return self._search(photo, self._side, 0) or self._search(photo, _SECOND_LOOK_SIDE, 1)

    def align(
        self, photo: npt.NDArray[np.uint8], finding: Finding
    ) -> tuple[tuple[tuple[int, int], ...], npt.NDArray[np.uint8]]:
        """Return the five landmarks of a face in *photo* and its chip for the embedder."""
        box = finding.box
        shape = self._landmarks(
            photo, dlib.rectangle(box.left, box.top, box.right - 1, box.bottom - 1)
        )
        chip: npt.NDArray[np.uint8] = dlib.get_face_chip(photo, shape, CHIP_SIDE, _CHIP_PADDING)
        return tuple((point.x, point.y) for point in shape.parts()), chip

    def _search(self, photo: npt.NDArray[np.uint8], side: int, doublings: int) -> list[Finding]:
        height, width = photo.shape[:2]
        # Small photos are enlarged: the detector knows no face under 80 pixels.
        scale = side / max(width, height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        searched = Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        boxes, scores, _ = self._detector().run(np.asarray(searched), doublings, _LEAST_CONFIDENCE)
        found = [
            Finding(_box(box, scale), float(score))
            for box, score in zip(boxes, scores, strict=True)
        ]
        return sorted(found, key=lambda finding: finding.confidence, reverse=True)

    def _detector(self) -> Any:
        if not hasattr(self._of_thread, "detector"):
            self._of_thread.detector = dlib.get_frontal_face_detector()
        return self._of_thread.detector


def _box(found: Any, scale: float) -> Box:
    """Return dlib's rectangle in pixels of the kept copy; it may reach past the photo's edge."""
    return Box(
        left=round(found.left() / scale),
        top=round(found.top() / scale),
        right=round((found.right() + 1) / scale),
        bottom=round((found.bottom() + 1) / scale),
    )
