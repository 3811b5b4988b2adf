"""Photos and the faces on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, Self
from uuid import UUID


@dataclass(frozen=True, slots=True)
class FaceBox:
    """Where a face is, in shares of the upright photo's sides: it fits any copy of the photo."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def of_corners(cls, left: float, top: float, right: float, bottom: float) -> Self:
        """Return the part of a box that lies inside the photo."""
        left, top, right, bottom = (
            round(min(max(side, 0.0), 1.0), 4) for side in (left, top, right, bottom)
        )
        return cls(left, top, round(right - left, 4), round(bottom - top, 4))

    @classmethod
    def from_json(cls, told: Mapping[str, float]) -> Self:
        """Return the box that the database keeps; whatever else it says is left out."""
        return cls(told["left"], told["top"], told["width"], told["height"])

    @classmethod
    def from_text(cls, told: str) -> Self:
        """Return the box that `as_text` told of."""
        left, top, width, height = map(float, told.split(","))
        return cls(left, top, width, height)

    def as_text(self) -> str:
        """Return left, top, width and height for a URL."""
        return ",".join(f"{share:.4f}" for share in (self.left, self.top, self.width, self.height))


class Rectangle(Protocol):
    """A box in whatever unit."""

    @property
    def left(self) -> float: ...
    @property
    def top(self) -> float: ...
    @property
    def width(self) -> float: ...
    @property
    def height(self) -> float: ...


def overlap(box: Rectangle, other: Rectangle) -> float:
    """Return the share that two boxes have in common of what they cover together, 0 to 1."""
    across = min(box.left + box.width, other.left + other.width) - max(box.left, other.left)
    down = min(box.top + box.height, other.top + other.height) - max(box.top, other.top)
    common = max(across, 0.0) * max(down, 0.0)
    both = box.width * box.height + other.width * other.height - common
    return common / both if both > 0 else 0.0


@dataclass(frozen=True, slots=True)
class EyePlaces:
    """Where both eyes are in the copies of a photo, in shares of the kept copy's width."""

    left: tuple[float, float]
    """The left one of the picture."""
    right: tuple[float, float]
    height: float
    """Of the kept copy."""
    thumbnail: tuple[float, float, float]
    """Left edge, top edge and side of the square that the thumbnail shows."""


class Turn(StrEnum):
    """To which of their own sides a person is asked to turn the head."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a person is asked to do before the camera, once and soon."""

    id: UUID
    turns: Sequence[Turn]


@dataclass(frozen=True, slots=True)
class HeldPhoto:
    """A photo that is neither found nor searched for until an operator decides."""

    face_id: UUID
    profile_id: UUID
    school: str | None
    reason: str
    """`another_person`: not the person of their first photo; `another_account`: like the person of
    another account, see `SuspectedDuplicate`; `challenge`: not shown to be theirs before the camera
    yet; `refused`; or what an operator held it for."""
    held_at: datetime


@dataclass(frozen=True, slots=True)
class Face:
    """A photo of a person with what was measured on it; never its embedding."""

    id: UUID
    created_at: datetime
    embedding_model: str | None
    """None until a worker has seen the photo."""
    quality: dict[str, Any] | None
