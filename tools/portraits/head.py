"""The head that every drawing is fitted to, and the shapes that hair is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.portraits.canvas import Canvas, Colour, Point, darker, lighter, mirrored

if TYPE_CHECKING:
    from collections.abc import Sequence


EYE_RIGHT, EYE_DOWN = 0.42, 0.04


@dataclass(frozen=True)
class Head:
    """Where the head is and how it is coloured."""

    x: float
    y: float
    half_width: float
    half_height: float
    jaw: float
    """How much narrower the chin is than the temples, 0 to 1."""
    skin: Colour
    hair: Colour
    cloth: Colour
    """Colour of a head scarf or a ribbon."""

    @property
    def eyes(self) -> tuple[Point, Point]:
        """The centres of both eyes, from left to right."""
        return self.at(-EYE_RIGHT, EYE_DOWN), self.at(EYE_RIGHT, EYE_DOWN)

    @property
    def top(self) -> float:
        """Height of the crown."""
        return self.y - self.half_height

    def at(self, right: float, down: float) -> Point:
        """Return the point *right* half-widths and *down* half-heights from the centre."""
        return self.x + right * self.half_width, self.y + down * self.half_height

    def path(self, text: str, side: int = 1) -> list[Point]:
        """Return the points written in *text* as "right down, right down, ..." like `at` has them.

        Args:
            text: the points.
            side: -1 mirrors them to the other side of the face.
        """
        pairs = (pair.split() for pair in text.split(","))
        return [self.at(side * float(right), float(down)) for right, down in pairs]

    def arch(self, side: float, lift: float, start: float = 180, end: float = 360) -> list[Point]:
        """Return an arch over the head from left to right.

        Args:
            side: how far outside the temples it runs.
            lift: how far above the top it runs.
            start: first angle in degrees; 180 is left, 270 the top, 360 right.
            end: last angle in degrees.
        """
        angles = [math.radians(start + (end - start) * i / 12) for i in range(13)]
        wide, high = self.half_width + side, self.half_height + lift
        return [(self.x + wide * math.cos(a), self.y + high * math.sin(a)) for a in angles]


def cap(
    canvas: Canvas,
    head: Head,
    hairline: str,
    outside: tuple[float, float],
    low: float = 4,
) -> None:
    """Fill between an arch over the head and *hairline*, a path from right to left.

    Args:
        canvas: what is drawn on.
        head: what is covered.
        hairline: the lower border.
        outside: how far the hair stands out at the temples and on top.
        low: degrees by which the arch goes on below the middle of the head.
    """
    arch = head.arch(*outside, 180 - low, 360 + low)
    canvas.shape([*arch, *head.path(hairline)], head.hair)


def hair_behind(canvas: Canvas, head: Head, left: str) -> None:
    """Fill the hair behind the head; *left* is the path of its left border from top to bottom."""
    border = mirrored(head.path(left), head.x)
    canvas.shape([*border, head.at(0.5, -1.1), head.at(-0.5, -1.1)], darker(head.hair, 0.12))


def cloud(canvas: Canvas, centres: Sequence[Point], radius: float, fill: Colour) -> None:
    """Draw curls: discs of slightly different size round *centres*."""
    for i, centre in enumerate(centres):
        size = radius * (1 + 0.16 * math.sin(i * 2.4))
        canvas.ellipse(centre, size, size, fill)


def shine(canvas: Canvas, head: Head, path: str, width: float = 4) -> None:
    """Draw a light strand along *path*."""
    canvas.stroke(head.path(path), width, lighter(head.hair, 0.16))
