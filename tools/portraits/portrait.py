"""One drawn portrait: a face on a plain background that nobody mistakes for a photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.portraits import face
from tools.portraits.canvas import Canvas, darker, lighter, mirrored
from tools.portraits.look import choose_look

if TYPE_CHECKING:
    from automatch.model.people import Gender
    from tools.portraits.look import Look


def draw_portrait(seed: int, gender: Gender) -> Canvas:
    """Return a drawn portrait of 480 x 480 pixels; the same seed and gender give the same one."""
    return draw_look(choose_look(seed, gender))


def draw_look(look: Look) -> Canvas:
    """Return the portrait of one look."""
    canvas = Canvas(look.background)
    _backdrop(canvas, look)
    _body(canvas, look)
    if look.style.back:
        look.style.back(canvas, look.head)
    _neck(canvas, look)
    _collar(canvas, look)
    face.skin(canvas, look)
    face.eyes(canvas, look)
    face.mouth(canvas, look)
    face.glasses(canvas, look)
    if look.style.front:
        look.style.front(canvas, look.head)
    face.earrings(canvas, look)
    return canvas


def _backdrop(canvas: Canvas, look: Look) -> None:
    canvas.ellipse((240, 236), 178, 178, lighter(look.background, 0.45))


def _body(canvas: Canvas, look: Look) -> None:
    wide = 150 if look.woman else 172
    left = [
        (240, 346),
        (200, 352),
        (240 - wide * 0.62, 378),
        (240 - wide, 420),
        (228 - wide, 520),
    ]
    canvas.shape(mirrored(left), look.clothes)
    if look.outfit in {"tee", "vneck"}:
        canvas.ellipse((240, 362), 52, 34, darker(look.clothes, 0.12))
        canvas.ellipse((240, 360), 46, 28, look.head.skin)
    if look.outfit == "vneck":
        canvas.polygon([(198, 368), (282, 368), (240, 424)], look.head.skin)
    if look.outfit == "hoodie":
        canvas.ellipse((240, 372), 92, 44, darker(look.clothes, 0.14))


def _neck(canvas: Canvas, look: Look) -> None:
    half = 30 if look.woman else 36
    skin = look.head.skin
    canvas.polygon(
        [(240 - half, 270), (240 + half, 270), (240 + half, 372), (240 - half, 372)],
        skin,
    )
    canvas.ellipse((240, 371), half, 14, skin)
    shade = darker(skin, 0.16)
    canvas.polygon(
        [(240 - half, 270), (240 + half, 270), (240 + half, 318), (240 - half, 318)],
        shade,
    )
    canvas.ellipse((240, 318), half, 16, shade)


def _collar(canvas: Canvas, look: Look) -> None:
    if look.outfit == "shirt":
        edge = lighter(look.clothes, 0.35)
        canvas.polygon([(240, 400), (196, 346), (178, 372), (212, 420)], edge)
        canvas.polygon([(240, 400), (284, 346), (302, 372), (268, 420)], edge)
        for y in (430, 462):
            canvas.ellipse((240, y), 4, 4, edge)
    elif look.outfit == "turtleneck":
        canvas.shape(
            [(198, 336), (240, 348), (282, 336), (290, 384), (240, 396), (190, 384)],
            darker(look.clothes, 0.1),
        )
    elif look.outfit == "hoodie":
        canvas.shape(
            [
                (166, 356),
                (204, 346),
                (240, 400),
                (276, 346),
                (314, 356),
                (290, 404),
                (240, 426),
                (190, 404),
            ],
            lighter(look.clothes, 0.1),
        )
        for side in (-1, 1):
            canvas.stroke(
                [(240 + side * 18, 418), (240 + side * 21, 456)],
                4,
                lighter(look.clothes, 0.6),
            )
