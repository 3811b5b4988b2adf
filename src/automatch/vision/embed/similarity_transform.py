"""Alignment: the shift, rotation and scale between a face in its photo and its upright chip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from automatch.vision.embed.embedder import CHIP_SIDE

if TYPE_CHECKING:
    import numpy.typing as npt

    from automatch.vision.detect.detector import AlignedFace
    from automatch.vision.embed.embedder import Embedder

_ARCFACE_SIDE = 112

# The places of the landmarks in a chip, from InsightFace's `face_align.py`; OpenCV's
# `face_recognize.cpp` has the same.
_ARCFACE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)

_SAMPLES = 30
"""Sample points along a side for `share_inside`."""


@dataclass(frozen=True, eq=False)
class SimilarityTransform:
    """Maps a point of the chip to one of the photo: `matrix @ point + offset`."""

    matrix: npt.NDArray[np.float64]
    """(2, 2), a rotation times a scale."""
    offset: npt.NDArray[np.float64]
    side: int = CHIP_SIDE
    """Of the chip, in its pixels."""

    @classmethod
    def from_chip(
        cls, center: tuple[float, float], side: float, angle: float
    ) -> SimilarityTransform:
        """Return the transform of a chip with this centre, side and rotation in the photo.

        Args:
            center: in pixels of the photo.
            side: in pixels of the photo.
            angle: in radians, clockwise.
        """
        matrix = side / CHIP_SIDE * _rotation(math.cos(angle), math.sin(angle))
        middle = np.full(2, CHIP_SIDE / 2)
        return cls(matrix, np.asarray(center) - matrix @ middle)

    @classmethod
    def from_landmarks(
        cls, landmarks: npt.ArrayLike, template: npt.NDArray[np.float64]
    ) -> SimilarityTransform:
        """Return the transform that fits *landmarks* to *template*, by least squares in the photo.

        Args:
            landmarks: (n, 2) in pixels of the photo.
            template: (n, 2), the places of these landmarks in a chip.
        """
        points = np.asarray(landmarks, np.float64)
        here, there = template - template.mean(axis=0), points - points.mean(axis=0)
        # Least squares over rotation and scale is one division of complex numbers, written out.
        power = (here**2).sum()
        along = (here * there).sum() / power
        across = (here[:, 0] * there[:, 1] - here[:, 1] * there[:, 0]).sum() / power
        matrix = _rotation(along, across)
        return cls(matrix, points.mean(axis=0) - matrix @ template.mean(axis=0))

    @classmethod
    def umeyama(
        cls, landmarks: npt.ArrayLike, template: npt.NDArray[np.float64], side: int
    ) -> SimilarityTransform:
        """Return the transform for which *landmarks*, brought into the chip, miss *template* least.

        `by_landmarks` measures the miss in the photo. Models of the ArcFace type were trained on
        chips for which it was measured in the chip (Umeyama's estimate), which are a little
        smaller where the two do not fit.

        Args:
            landmarks: (n, 2) in pixels of the photo; whole numbers are the middles of pixels.
            template: (n, 2) in pixels of the chip; likewise.
            side: of the chip.
        """
        # Elsewhere in this class whole numbers are the edges of pixels.
        here, there = np.asarray(landmarks, np.float64) + 0.5, template + 0.5
        inwards = cls.from_landmarks(there, here)
        matrix = np.linalg.inv(inwards.matrix).astype(np.float64)
        return cls(matrix, -matrix @ inwards.offset, side)

    def to_photo(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the places in the photo of points (n, 2) of the chip."""
        moved: npt.NDArray[np.float64] = np.asarray(points) @ self.matrix.T + self.offset
        return moved

    def share_inside(self, photo: npt.NDArray[np.uint8]) -> float:
        """Return the share of the chip that lies inside *photo*, 0 to 1."""
        height, width = photo.shape[:2]
        steps = (np.arange(_SAMPLES) + 0.5) * (self.side / _SAMPLES)
        x, y = self.to_photo(np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)).T
        return float(((x >= 0) & (x < width) & (y >= 0) & (y < height)).mean())

    def crop(self, photo: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the chip, (side, side, 3) RGB; black where *photo* ends."""
        side = self.side
        corners = self.to_photo([(0, 0), (side, 0), (0, side), (side, side)])
        # Pillow copies what it is given, so it gets only this part.
        left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 2, 0)
        right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 3
        part = Image.fromarray(np.ascontiguousarray(photo[top:bottom, left:right]))
        # Sampling single pixels of a large face would leave jagged edges, so pixels are averaged
        # first.
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


def cut_chip(
    embedder: Embedder, photo: npt.NDArray[np.uint8], aligned: AlignedFace
) -> npt.NDArray[np.uint8]:
    """Return the chip of a face in *photo* as *embedder* was trained on it, (side, side, 3) RGB.

    Every detector cuts dlib's chip, by which the quality is measured. ArcFace models take another:
    eyes, tip of the nose and corners of the mouth are fitted to a template of 112 pixels. dlib's
    five landmarks have no mouth, so that chip cannot be cut from them.
    """
    if embedder.alignment == "dlib":
        return aligned.chip
    side = embedder.chip_side
    template = _ARCFACE * (side / _ARCFACE_SIDE)
    return SimilarityTransform.umeyama(aligned.landmarks, template, side).crop(photo)


def estimate_yaw(
    left_eye: npt.ArrayLike, right_eye: npt.ArrayLike, nose: npt.ArrayLike, depth: float
) -> float:
    """Return by how many degrees a face is turned to a side; above 0 to the right of the picture.

    Args:
        left_eye: the middle of the eye on the left of the picture.
        right_eye: the middle of the other.
        nose: a point of the nose.
        depth: how far that point lies in front of the eyes, in distances between the eyes. In a
            head turned by an angle it moves aside by *depth* times the tangent of the angle.
    """
    left, right = np.asarray(left_eye, np.float64), np.asarray(right_eye, np.float64)
    axis = right - left
    length = float(axis @ axis)
    if not length:
        return 90.0
    aside = float((np.asarray(nose) - (left + right) / 2) @ axis) / length
    return math.degrees(math.atan(aside / depth))


def _rotation(along: float, across: float) -> npt.NDArray[np.float64]:
    return np.array([[along, -across], [across, along]])
