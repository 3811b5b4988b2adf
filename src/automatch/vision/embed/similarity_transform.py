"""How a face lies in its photo: the move, turn and scale that bring it upright into a chip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from automatch.vision.embed.embedder import CHIP_SIDE

if TYPE_CHECKING:
    import numpy.typing as npt

_SAMPLES = 30
"""Points along a side by which the share inside the photo is counted."""


@dataclass(frozen=True, eq=False)
class Placement:
    """Leads from a point of the chip to one of the photo: `matrix @ point + offset`."""

    matrix: npt.NDArray[np.float64]
    """(2, 2), a rotation times a scale."""
    offset: npt.NDArray[np.float64]
    side: int = CHIP_SIDE
    """Of the chip, in its pixels."""

    @classmethod
    def of_chip(cls, center: tuple[float, float], side: float, angle: float) -> Placement:
        """Return the placement of a chip by its middle and side in the photo, and its turn.

        Args:
            center: in pixels of the photo.
            side: in pixels of the photo.
            angle: in radians, clockwise as one sees it.
        """
        matrix = side / CHIP_SIDE * _rotation(math.cos(angle), math.sin(angle))
        middle = np.full(2, CHIP_SIDE / 2)
        return cls(matrix, np.asarray(center) - matrix @ middle)

    @classmethod
    def by_landmarks(cls, landmarks: npt.ArrayLike, template: npt.NDArray[np.float64]) -> Placement:
        """Return the placement that brings *landmarks* nearest to their places in a chip.

        Args:
            landmarks: (n, 2) in pixels of the photo.
            template: (n, 2), the usual places of these landmarks in a chip.
        """
        points = np.asarray(landmarks, np.float64)
        here, there = template - template.mean(axis=0), points - points.mean(axis=0)
        # Least squares over rotation and scale: one complex division, written out.
        power = (here**2).sum()
        along = (here * there).sum() / power
        across = (here[:, 0] * there[:, 1] - here[:, 1] * there[:, 0]).sum() / power
        matrix = _rotation(along, across)
        return cls(matrix, points.mean(axis=0) - matrix @ template.mean(axis=0))

    @classmethod
    def onto(
        cls, landmarks: npt.ArrayLike, template: npt.NDArray[np.float64], side: int
    ) -> Placement:
        """Return the placement for which *landmarks*, brought into the chip, miss *template* least.

        `by_landmarks` measures the miss in the photo. Models of the ArcFace type were trained on
        chips for which it was measured in the chip (Umeyama's estimate), which are a little
        smaller where the two do not fit.

        Args:
            landmarks: (n, 2) in pixels of the photo, by the middles of pixels.
            template: (n, 2) in pixels of the chip, likewise.
            side: of the chip.
        """
        # Here a pixel's middle lies half a pixel from its edge.
        here, there = np.asarray(landmarks, np.float64) + 0.5, template + 0.5
        inwards = cls.by_landmarks(there, here)
        matrix = np.linalg.inv(inwards.matrix).astype(np.float64)
        return cls(matrix, -matrix @ inwards.offset, side)

    def to_photo(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return where points (n, 2) of the chip lie in the photo."""
        moved: npt.NDArray[np.float64] = np.asarray(points) @ self.matrix.T + self.offset
        return moved

    def inside(self, photo: npt.NDArray[np.uint8]) -> float:
        """Return the share of the chip that lies inside *photo*, 0 to 1."""
        height, width = photo.shape[:2]
        steps = (np.arange(_SAMPLES) + 0.5) * (self.side / _SAMPLES)
        x, y = self.to_photo(np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)).T
        return float(((x >= 0) & (x < width) & (y >= 0) & (y < height)).mean())

    def cut(self, photo: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the chip, (side, side, 3) RGB; black where *photo* ends."""
        side = self.side
        corners = self.to_photo([(0, 0), (side, 0), (0, side), (side, side)])
        # Only this part is handed to Pillow, which copies what it gets.
        left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 2, 0)
        right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 3
        part = Image.fromarray(np.ascontiguousarray(photo[top:bottom, left:right]))
        # Taking one pixel of many would leave jagged edges, so a large face is averaged first.
        shrink = max(1, int(math.hypot(*self.matrix[0])))
        part = part.reduce(shrink)
        matrix = self.matrix / shrink
        x, y = (self.offset - (left, top)) / shrink
        chip = part.transform(
            (side, side),
            Image.Transform.AFFINE,
            (matrix[0, 0], matrix[0, 1], x, matrix[1, 0], matrix[1, 1], y),
            Image.Resampling.BILINEAR,
        )
        return np.asarray(chip)


def turn_degrees(
    left_eye: npt.ArrayLike, right_eye: npt.ArrayLike, nose: npt.ArrayLike, depth: float
) -> float:
    """Return by how many degrees a face is turned to a side, 0 or more.

    Args:
        left_eye: the middle of the eye on the left of the picture.
        right_eye: the middle of the other.
        nose: a point of the nose.
        depth: how far that point stands out before the eyes, in distances between them. A head
            turned by an angle moves it sideways by *depth* times the tangent of that angle.
    """
    left, right = np.asarray(left_eye, np.float64), np.asarray(right_eye, np.float64)
    axis = right - left
    length = float(axis @ axis)
    if not length:
        return 90.0
    aside = float((np.asarray(nose) - (left + right) / 2) @ axis) / length
    return math.degrees(math.atan(abs(aside) / depth))


def _rotation(along: float, across: float) -> npt.NDArray[np.float64]:
    return np.array([[along, -across], [across, along]])
