"""The results of analyzing a photo."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from automatch.errors.photo import PhotoRejectedError
    from automatch.model.faces import EyePlaces


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the kept copy; right and bottom are exclusive."""

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

    def shares_of(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom in shares of a copy's sides: they fit any copy."""
        return self.left / width, self.top / height, self.right / width, self.bottom / height


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face in the kept copy of a photo."""

    box: Box
    confidence: float
    """The detector's own score; detectors differ in their scales, and it is no probability."""
    landmarks: tuple[tuple[float, float], ...]
    """Five (x, y) points in the kept copy; which ones depends on the detector."""
    embedding: npt.NDArray[np.float32]
    """A unit vector."""
    yaw_degrees: float = 0.0
    """How far it is turned, above 0 to the right of the picture; 0 where an AI service found it."""
    eyes: tuple[tuple[float, float], ...] = ()
    """The centres of both eyes in the kept copy, the left one of the picture first; empty where an
    AI service does not tell."""


@dataclass(frozen=True, eq=False)
class FaceExtraction:
    """A photo with exactly one good face."""

    face: DetectedFace
    quality: dict[str, float]
    """`face_side_px` (in the kept copy), `sharpness`, `brightness` and
    `contrast` (0 to 255), `confidence`, `yaw_degrees` (absolute), `inside` (share of the chip that
    lies in the photo, 0 to 1)."""
    kept_jpeg: bytes
    """The photo upright, at most `kept_side` long, without metadata. All faces but the
    uploader's are redacted."""
    thumbnail: bytes
    """The face and its surroundings, as WebP."""
    timings_ms: dict[str, float]
    """Of `decode`, `detect` and `embed`."""
    eyes: EyePlaces | None = None
    detector: str | None = None
    """What found the face; `None` when an AI service did, which does not tell."""

    @property
    def measured(self) -> dict[str, Any]:
        """What is kept of the face beside its embedding: its quality, and where its eyes are."""
        return self.quality | ({"eyes": asdict(self.eyes)} if self.eyes else {})


@dataclass(frozen=True, eq=False)
class FaceResult:
    """One face of a photo, usable or not."""

    face: DetectedFace
    quality: dict[str, float]
    """See `FaceExtraction.quality`."""
    refusal: PhotoRejectedError | None
    """Why a photo of this face alone would be refused; `None` if it would be accepted."""


@dataclass(frozen=True, eq=False)
class PhotoAnalysis:
    """All faces of a photo."""

    model_id: str
    width: int
    """Width of the kept copy in pixels, the unit of boxes and landmarks."""
    height: int
    faces: Sequence[FaceResult]
    """The largest first, with those below `min_confidence`."""
    min_confidence: float
    """The detector's threshold: a face with a lower score is too uncertain to use."""
    refusal: PhotoRejectedError | None
    """Why an upload of this photo would be refused; `None` if it would be accepted."""
    kept_jpeg: bytes
    """See `FaceExtraction`."""
    thumbnail: bytes
    timings_ms: dict[str, float]
    """See `FaceExtraction`."""
