"""The question which of several faces is one's own: what each of them is called and where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automatch.model.faces import FaceBox


@dataclass(frozen=True, slots=True)
class FaceButton:
    """One face of a photo, to be tapped; places are in percent of the photo's sides."""

    index: int
    """What the answer names: the job's boxes begin with the largest."""
    number: int
    """From 1, as people count: from the left to the right."""
    label: str
    left: float
    top: float
    width: float
    height: float


def face_buttons(boxes: Sequence[FaceBox]) -> list[FaceButton]:
    """Return a button a face, from the left to the right."""
    order = sorted(range(len(boxes)), key=lambda index: _middle(boxes[index]))
    return [
        FaceButton(
            index=index,
            number=number,
            label=f"Face {number} of {len(boxes)}, {_place(boxes[index])}",
            left=_percent(boxes[index].left),
            top=_percent(boxes[index].top),
            width=_percent(boxes[index].width),
            height=_percent(boxes[index].height),
        )
        for number, index in enumerate(order, start=1)
    ]


def _middle(box: FaceBox) -> float:
    return box.left + box.width / 2


def _place(box: FaceBox) -> str:
    middle = _middle(box)
    if middle < 1 / 3:
        return "on the left"
    return "on the right" if middle > 2 / 3 else "in the middle"


def _percent(share: float) -> float:
    return round(100 * share, 2)
