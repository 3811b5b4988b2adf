"""What a face detector offers and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from PIL import Image

from automatch.vision.decode.scaling import scaled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from automatch.vision.models.registry import Landmarks
    from automatch.vision.results import Box

Points: TypeAlias = tuple[tuple[float, float], ...]
"""(x, y) in pixels of the kept copy."""


@dataclass(frozen=True)
class Detection:
    """A detected face."""

    box: Box
    """It may extend past the photo's edge."""
    confidence: float
    """The detector's own score, see `Detector.min_confidence`."""
    landmarks: Points = ()
    """Empty for a detector that finds them in `align` only."""

    @property
    def side(self) -> int:
        """The longer side of the box in pixels of the kept copy."""
        return max(self.box.width, self.box.height)


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face cut out upright and centred."""

    chip: npt.NDArray[np.uint8]
    """(150, 150, 3) RGB; black where the photo ends."""
    landmarks: Points
    """Five points, of the `Detector.landmark_set`."""
    yaw_degrees: float
    """How far the face is turned to a side, estimated from its landmarks; above 0 to the right of
    the picture."""
    inside: float
    """The share of the chip that lies inside the photo, 0 to 1."""


class Detector(Protocol):
    """Finds faces. Several threads may call its methods at once."""

    @property
    def name(self) -> str:
        """What is kept beside embeddings as their detector."""
        ...

    @property
    def min_confidence(self) -> float:
        """A detection with a lower score is too uncertain to use."""
        ...

    @property
    def upright_confidence(self) -> float:
        """The least score that proves a face upright: faces in turned photos score less."""
        ...

    @property
    def landmark_set(self) -> Landmarks:
        """Which five points its landmarks are."""
        ...

    def find(self, photo: npt.NDArray[np.uint8]) -> list[Detection]:
        """Return what may be a face in a photo, highest confidence first.

        Args:
            photo: (height, width, 3) RGB, the kept copy.
        """
        ...

    def find_small(self, photo: npt.NDArray[np.uint8]) -> list[Detection]:
        """Return likewise what a slower search for smaller faces finds.

        It is for photos in which `find` finds no reliable face. Empty where `find` covers it.
        """
        ...

    def find_all(self, photo: npt.NDArray[np.uint8], min_side: int) -> list[Detection]:
        """Return likewise what a search finds that misses no face of *min_side* pixels.

        It is for large photos, and other people beside a larger face. Empty where `find` covers it.
        """
        ...

    def align(self, photo: npt.NDArray[np.uint8], detection: Detection) -> AlignedFace:
        """Return a face that `find` found in *photo*, cut out as dlib's model was trained on."""
        ...


_DARK, _LIGHT, _MAX_GAIN = 128, 200, 8.0
"""A photo whose lightest hundredth is darker than the first is brightened to the second."""
_SAMPLED = 8
"""Every so many rows and columns are looked at for that."""


def surest_first(detections: Iterable[Detection]) -> list[Detection]:
    """Return *detections*, highest confidence first."""
    return sorted(detections, key=lambda detection: detection.confidence, reverse=True)


def without_known(detections: Sequence[Detection], known: Sequence[Detection]) -> list[Detection]:
    """Return those *detections* that are of no *known* face."""
    return [
        detection
        for detection in detections
        if not any(_same_face(detection.box, other.box) for other in known)
    ]


def _same_face(box: Box, other: Box) -> bool:
    """Return whether the middle of either box lies in the other one."""
    return contains_middle(box, other) or contains_middle(other, box)


def eye_centres(landmarks: Points, landmark_set: Landmarks) -> Points:
    """Return the centres of both eyes, the left one of the picture first."""
    if landmark_set == "eyes_nose_mouth":
        eyes = landmarks[:2]
    else:
        (a, b), (c, d), (e, f), (g, h) = landmarks[:4]
        eyes = (((a + c) / 2, (b + d) / 2), ((e + g) / 2, (f + h) / 2))
    return tuple(sorted(eyes))


def contains_middle(box: Box, other: Box) -> bool:
    """Return whether the middle of the *other* box lies in a box."""
    x, y = (other.left + other.right) / 2, (other.top + other.bottom) / 2
    return box.left <= x < box.right and box.top <= y < box.bottom


def resized_to(photo: npt.NDArray[np.uint8], side: int) -> tuple[npt.NDArray[np.uint8], float]:
    """Return *photo* with a long side of *side* pixels, and the scale factor.

    Small photos are enlarged, because detectors find no face below a certain size. Dark ones are
    brightened first, or averaging pixels leaves too few shades of a face, of dark skin before all.
    """
    height, width = photo.shape[:2]
    scale = side / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    sample = photo[::_SAMPLED, ::_SAMPLED].ravel()
    # Of so many small numbers, counting finds the percentile faster than sorting.
    darker = np.cumsum(np.bincount(sample, minlength=256))
    light = int(np.searchsorted(darker, 0.99 * len(sample)))
    if light < _DARK:
        gain = min(_LIGHT / max(light, 1), _MAX_GAIN)
        photo = np.minimum(np.round(np.arange(256) * gain), 255).astype(np.uint8)[photo]
    if size == (width, height):
        return photo, scale
    return np.asarray(scaled(Image.fromarray(photo), size, cubic=False)), scale
