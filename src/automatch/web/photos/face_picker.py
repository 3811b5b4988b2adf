"""The face picker: one labelled button per face, when a photo shows several people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automatch.model.faces import FaceBox


@dataclass(frozen=True, slots=True)
class FaceButton:
    """The button of one face; positions are in percent of the photo's width and height."""

    index: int
    """The index in the job's boxes, which are sorted by size; this is the answer."""
    number: int
    """The number of the face, from 1, from left to right."""
    label: str
    left: float
    top: float
    width: float
    height: float


def face_buttons(boxes: Sequence[FaceBox]) -> list[FaceButton]:
    """Return one button per face, from left to right."""
    order = sorted(range(len(boxes)), key=lambda index: _middle(boxes[index]))
    return [
        FaceButton(
            index=index,
            number=number,
            label=f"Face {number} of {len(boxes)}, {_position(boxes[index])}",
            left=_percent(boxes[index].left),
            top=_percent(boxes[index].top),
            width=_percent(boxes[index].width),
            height=_percent(boxes[index].height),
        )
        for number, index in enumerate(order, start=1)
    ]


def _middle(box: FaceBox) -> float:
    return box.left + box.width / 2


def _position(box: FaceBox) -> str:
    middle = _middle(box)
    if middle < 1 / 3:
        return "on the left"
    return "on the right" if middle > 2 / 3 else "in the middle"


def _percent(share: float) -> float:
    return round(100 * share, 2)
