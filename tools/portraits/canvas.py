"""A small drawing board: smooth shapes, drawn three times as large and scaled down."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDE = 480
"""Width and height of the finished picture in pixels."""

_SUPERSAMPLING = 3
_ZOOM = 1.2
_SCALE = _SUPERSAMPLING * _ZOOM
_LEFT, _TOP = 40.0, 18.0
"""Corner of the part of the drawing that is seen, which is 400 units wide and high."""

_CURVE_STEPS = 8

Point = tuple[float, float]
Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)


def mix(first: Colour, second: Colour, part: float) -> Colour:
    """Return *first* with the given part (0 to 1) of *second* stirred in."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, part: float) -> Colour:
    """Return *colour* with the given part of a warm black stirred in."""
    return mix(colour, (20, 12, 24), part)


def lighter(colour: Colour, part: float) -> Colour:
    """Return *colour* with the given part of white stirred in."""
    return mix(colour, WHITE, part)


def mirrored(points: Sequence[Point], axis: float = 240) -> list[Point]:
    """Return *points* followed by their mirror image backwards, so that they close a shape."""
    return [*points, *((2 * axis - x, y) for x, y in reversed(points))]


def around(centre: Point, text: str) -> list[Point]:
    """Return the points written in *text* as "right down, right down, ...", from *centre* on."""
    x, y = centre
    pairs = (pair.split() for pair in text.split(","))
    return [(x + float(right), y + float(down)) for right, down in pairs]


def in_picture(point: Point) -> Point:
    """Return where a point of the drawing is in the picture, in shares of its side."""
    side = SIDE / _ZOOM
    return (point[0] - _LEFT) / side, (point[1] - _TOP) / side


class Canvas:
    """One picture in the making."""

    def __init__(self, background: Colour) -> None:
        self._image = Image.new("RGB", (SIDE * _SUPERSAMPLING,) * 2, background)
        self._draw = ImageDraw.Draw(self._image)

    def ellipse(self, centre: Point, radius_x: float, radius_y: float, fill: Colour) -> None:
        """Fill an ellipse."""
        self._draw.ellipse(_box(centre, radius_x, radius_y), fill=fill)

    def ring(
        self,
        centre: Point,
        radius_x: float,
        radius_y: float,
        width: float,
        fill: Colour,
    ) -> None:
        """Draw the border of an ellipse."""
        self._draw.ellipse(
            _box(centre, radius_x, radius_y), outline=fill, width=round(width * _SCALE)
        )

    def rounded_frame(
        self, centre: Point, half_x: float, half_y: float, width: float, fill: Colour
    ) -> None:
        """Draw the border of a rectangle with round corners."""
        self._draw.rounded_rectangle(
            _box(centre, half_x, half_y),
            radius=half_y * 0.55 * _SCALE,
            outline=fill,
            width=round(width * _SCALE),
        )

    def shape(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill the smooth closed curve through *points*."""
        self._draw.polygon(_scaled(_spline(points, closed=True)), fill=fill)

    def shape_with_hole(self, points: Sequence[Point], hole: Sequence[Point], fill: Colour) -> None:
        """Fill the smooth closed curve through *points*, leaving the one through *hole* open."""
        mask = Image.new("1", self._image.size)
        draw = ImageDraw.Draw(mask)
        draw.polygon(_scaled(_spline(points, closed=True)), fill=1)
        draw.polygon(_scaled(_spline(hole, closed=True)), fill=0)
        self._image.paste(fill, mask=mask)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill the closed shape with straight sides."""
        self._draw.polygon(_scaled(points), fill=fill)

    def stroke(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """Draw a smooth open curve through *points* with round ends."""
        line = _scaled(_spline(points, closed=False))
        self._draw.line(line, fill=fill, width=round(width * _SCALE), joint="curve")
        radius = width * _SCALE / 2
        for x, y in (line[0], line[-1]):
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def image(self) -> Image.Image:
        """Return the finished picture."""
        return self._image.reduce(_SUPERSAMPLING)

    def webp(self) -> bytes:
        """Return the finished picture as a lossless WebP file without metadata."""
        out = io.BytesIO()
        self.image().save(out, "WEBP", lossless=True, method=6)
        return out.getvalue()


def _box(centre: Point, half_x: float, half_y: float) -> list[Point]:
    x, y = centre
    return _scaled([(x - half_x, y - half_y), (x + half_x, y + half_y)])


def _scaled(points: Sequence[Point]) -> list[Point]:
    return [((x - _LEFT) * _SCALE, (y - _TOP) * _SCALE) for x, y in points]


def _spline(points: Sequence[Point], *, closed: bool) -> list[Point]:
    """Return points on the Catmull-Rom curve through *points*."""
    count = len(points)
    ring = (
        [points[-1], *points, points[0], points[1]] if closed else [points[0], *points, points[-1]]
    )
    curve: list[Point] = []
    for i in range(count if closed else count - 1):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = ring[i : i + 4]
        for step in range(_CURVE_STEPS):
            t = step / _CURVE_STEPS
            wa = t * (-0.5 + t * (1 - 0.5 * t))
            wb = 1 + t * t * (-2.5 + 1.5 * t)
            wc = t * (0.5 + t * (2 - 1.5 * t))
            wd = t * t * (-0.5 + 0.5 * t)
            curve.append(
                (
                    wa * ax + wb * bx + wc * cx + wd * dx,
                    wa * ay + wb * by + wc * cy + wd * dy,
                )
            )
    if not closed:
        curve.append(points[-1])
    return curve
