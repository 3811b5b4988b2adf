"""The parts of a drawn face: skin, eyes, mouth, beard, glasses, earrings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tools.portraits.canvas import WHITE, Canvas, Point, around, darker, mix

if TYPE_CHECKING:
    from tools.portraits.head import Head
    from tools.portraits.look import Look


def skin(canvas: Canvas, look: Look) -> None:
    """Draw ears, face, cheeks and nose, and a beard under everything that follows."""
    head = look.head
    for side in (-1, 1):
        canvas.ellipse(head.at(side * 1.0, 0.1), 13, 20, head.skin)
        canvas.ellipse(head.at(side * 1.02, 0.11), 6, 11, darker(head.skin, 0.14))
    canvas.shape(_outline(head), head.skin)
    blush = mix(head.skin, (232, 96, 92), 0.2)
    for side in (-1, 1):
        canvas.ellipse(head.at(side * 0.56, 0.36), 15, 10, blush)
    if look.freckles:
        for side in (-1, 1):
            for spot in head.path("0.42 0.26, 0.56 0.3, 0.48 0.38, 0.64 0.22", side):
                canvas.ellipse(spot, 1.8, 1.8, darker(head.skin, 0.26))
    if look.beard in {"full", "stubble"}:
        _full_beard(canvas, look)
    canvas.stroke(head.path("-0.1 0.29, 0 0.35, 0.1 0.29"), 4.5, darker(head.skin, 0.22))


def _outline(head: Head, margin: float = 0.0) -> list[Point]:
    points = []
    for i in range(24):
        angle = 2 * math.pi * i / 24
        right, down = math.cos(angle), math.sin(angle)
        narrow = 1 - head.jaw * max(0.0, down) ** 1.5
        points.append(head.at(right * narrow * (1 + margin), down * (1 + margin)))
    return points


def _full_beard(canvas: Canvas, look: Look) -> None:
    head = look.head
    colour = mix(head.hair, head.skin, 0.62) if look.beard == "stubble" else head.hair
    jaw = [p for p in _outline(head, 0.025) if p[1] > head.y + 0.05 * head.half_height]
    canvas.shape([*jaw, *head.path("-0.8 0.3, -0.5 0.44, 0 0.42, 0.5 0.44, 0.8 0.3")], colour)


def eyes(canvas: Canvas, look: Look) -> None:
    """Draw both eyes and brows."""
    head = look.head
    ink = darker(head.skin, 0.86)
    brow = mix(head.hair, (60, 44, 40), 0.3)
    for side, centre in zip((-1, 1), head.eyes, strict=True):
        x, y = centre
        arch = [(x - side * 15, -23), (x, -29), (x + side * 17, -23 + look.brow)]
        canvas.stroke(
            [(right, y + down - look.brow) for right, down in arch],
            4.5 if look.woman else 6.5,
            brow,
        )
        match look.eyes:
            case "happy":
                canvas.stroke(around(centre, "-12 3, 0 -6, 12 3"), 4.5, ink)
            case "dot":
                canvas.ellipse(centre, 7.5, 9.5, ink)
                canvas.ellipse((x + 2.5, y - 3.5), 2.6, 2.6, WHITE)
            case "open":
                canvas.ellipse(centre, 13.5, 9.5, WHITE)
                canvas.ellipse(centre, 8, 8.6, look.iris)
                canvas.ellipse(centre, 4, 4.4, (24, 18, 22))
                canvas.ellipse((x + 2.6, y - 3), 2.4, 2.4, WHITE)
                canvas.stroke(around(centre, "-14 -2, 0 -10, 14 -2"), 3.6, ink)
        if look.woman:
            corner = x + side * (7 if look.eyes == "dot" else 13)
            canvas.stroke([(corner, y - 3), (corner + side * 6, y - 8)], 3, ink)


def mouth(canvas: Canvas, look: Look) -> None:
    """Draw the mouth, with what beard there is right round it."""
    head = look.head
    centre = head.at(0, 0.6)
    lip = mix(darker(head.skin, 0.34), (190, 60, 66), 0.45)
    if look.deep or look.beard == "full":
        lip = (206, 104, 104)
    if look.beard == "chin":
        tuft = around(centre, "-15 17, 0 15, 15 17, 10 33, 0 37, -10 33")
        canvas.shape(tuft, mix(head.hair, head.skin, 0.2))
    elif look.beard == "full":
        canvas.stroke(around(centre, "-24 -4, -8 -13, 0 -11, 8 -13, 24 -4"), 7, head.hair)
    match look.mouth:
        case "grin":
            opening = around(centre, "-22 -5, 0 -3, 22 -5, 13 11, 0 15, -13 11")
            canvas.shape(opening, mix(lip, (96, 20, 36), 0.6))
            canvas.shape(around(centre, "-18 -3.5, 0 -2, 18 -3.5, 14 2, 0 4, -14 2"), WHITE)
        case "small":
            canvas.stroke(around(centre, "-11 0, 0 5, 11 0"), 5, lip)
        case "wry":
            canvas.stroke(around(centre, "-17 2, 0 5, 19 -5"), 4.5, lip)
        case "smile":
            canvas.stroke(around(centre, "-20 -4, 0 8, 20 -4"), 5, lip)


def glasses(canvas: Canvas, look: Look) -> None:
    """Draw the glasses, if the look has any."""
    if look.glasses is None:
        return
    head = look.head
    for side in (-1, 1):
        x, y = head.at(side * 0.42, 0.05)
        if look.glasses == "round":
            canvas.ring((x, y), 25, 25, 4, look.frame)
        else:
            canvas.rounded_frame((x, y), 26, 20, 4, look.frame)
        canvas.stroke([(x + side * 25, y - 4), head.at(side * 1.0, 0.0)], 4, look.frame)
    x, y = head.at(0, 0.02)
    gap = 0.42 * head.half_width - 25
    canvas.stroke([(x - gap, y), (x, y - 4), (x + gap, y)], 4, look.frame)


def earrings(canvas: Canvas, look: Look) -> None:
    """Draw a stud on each ear, if the look has them."""
    if not look.earrings:
        return
    for side in (-1, 1):
        x, y = look.head.at(side * 1.03, 0.34)
        canvas.ellipse((x, y), 5, 5, (236, 190, 84))
