"""What looking at a photo gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from automatch.errors.photo import PhotoRejectedError


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the kept copy; right and bottom lie just outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels of the kept copy."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels of the kept copy."""
        return self.bottom - self.top


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face in the kept copy of a photo."""

    box: Box
    confidence: float
    """The detector's own score: it depends on the detector and is no probability."""
    landmarks: tuple[tuple[float, float], ...]
    """Five (x, y) points in the kept copy; which ones depends on the detector."""
    embedding: npt.NDArray[np.float32]
    """Of length 1."""


@dataclass(frozen=True, eq=False)
class FaceExtraction:
    """A photo with exactly one good face."""

    face: DetectedFace
    quality: dict[str, float]
    """`face_side_px` (in the kept copy), `sharpness`, `brightness` (0 to 255), `confidence`,
    `yaw_degrees` (to a side), `inside` (share of the chip that lies in the photo, 0 to 1)."""
    kept_jpeg: bytes
    """The photo upright, at most `kept_side` long, without any metadata; of several faces, only the
    chosen one can be recognised."""
    thumbnail_jpeg: bytes
    timings: dict[str, float]
    """Milliseconds for `decode`, `detect` and `embed`."""


@dataclass(frozen=True, eq=False)
class FaceResult:
    """One face of a photo, whether it can be used or not."""

    face: DetectedFace
    quality: dict[str, float]
    """See `FaceExtraction.quality`."""
    refusal: PhotoRejectedError | None
    """Why a photo of this face alone would be refused; `None` when it would not."""


@dataclass(frozen=True, eq=False)
class PhotoAnalysis:
    """All that a photo shows, and no choice made."""

    model_id: str
    width: int
    """Of the kept copy, in pixels; boxes and landmarks are in these."""
    height: int
    faces: Sequence[FaceResult]
    """The largest first; also what is only guessed to be a face."""
    min_confidence: float
    """Of the detector: what scores less is no face to rely on."""
    refusal: PhotoRejectedError | None
    """Why an upload of this photo would be refused; `None` when it would not."""
    kept_jpeg: bytes
    """See `FaceExtraction`."""
    thumbnail_jpeg: bytes
    timings: dict[str, float]
    """See `FaceExtraction`."""
