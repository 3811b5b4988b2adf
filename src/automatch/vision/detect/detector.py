"""Where the faces of a photo are: the seam between the pipeline and a detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt

    from automatch.vision.models.registry import Landmarks
    from automatch.vision.results import Box

Points: TypeAlias = tuple[tuple[float, float], ...]
"""(x, y) in pixels of the kept copy."""

_REDUCING_GAP = 1.25
"""Beyond it whole pixels are averaged before the filter, at a fraction of its work; 1600 pixels to
640 leave just so much to it."""


@dataclass(frozen=True)
class Detection:
    """What a detector takes for a face."""

    box: Box
    """It may reach past the photo's edge."""
    confidence: float
    """The detector's own score, see `Detector.min_confidence`."""
    landmarks: Points = ()
    """Empty where the detector finds them in `Detector.align` only."""

    @property
    def side(self) -> int:
        """The longer side of the box in pixels of the kept copy."""
        return max(self.box.width, self.box.height)


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face upright and centred for the embedder."""

    chip: npt.NDArray[np.uint8]
    """(150, 150, 3) RGB; black where the photo ends."""
    landmarks: Points
    """Five points; which ones they are, `Detector.gives` says."""
    turn: float
    """Degrees by which the face is turned to a side, estimated from its landmarks; 0 or more."""
    inside: float
    """The share of the chip that lies inside the photo, 0 to 1."""


class Detector(Protocol):
    """Finds faces. Both methods may be called from several threads at once."""

    @property
    def min_confidence(self) -> float:
        """What scores less may be a face, but is none to rely on."""
        ...

    @property
    def gives(self) -> Landmarks:
        """Which five points the landmarks of its aligned faces are."""
        ...

    def find(self, photo: npt.NDArray[np.uint8]) -> list[Detection]:
        """Return what may be a face in a photo, most certain first.

        Args:
            photo: (height, width, 3) RGB, the kept copy.
        """
        ...

    def align(self, photo: npt.NDArray[np.uint8], finding: Detection) -> AlignedFace:
        """Return a face that `find` found in *photo*, cut out as the face model was trained."""
        ...


def shrunk(photo: npt.NDArray[np.uint8], side: int) -> tuple[npt.NDArray[np.uint8], float]:
    """Return *photo* with a long side of *side* pixels, and by how much it was scaled.

    Small photos are enlarged: detectors know no face under a certain number of pixels.
    """
    height, width = photo.shape[:2]
    scale = side / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = Image.fromarray(photo).resize(
        size, Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP
    )
    return np.asarray(resized), scale
