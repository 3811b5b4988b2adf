"""Hair that ends above the shoulders."""

from __future__ import annotations

from tools.portraits.canvas import Canvas, lighter, mix
from tools.portraits.head import Head, cap, cloud, shine


def _faded_sides(canvas: Canvas, head: Head) -> None:
    fade = mix(head.hair, head.skin, 0.42)
    canvas.shape(
        [
            *head.arch(3, 5, 178, 362),
            *head.path(
                "0.98 -0.02, 0.9 -0.36, 0.5 -0.62, 0 -0.64, -0.5 -0.62, -0.9 -0.36, -0.98 -0.02"
            ),
        ],
        fade,
    )


def side_part(canvas: Canvas, head: Head) -> None:
    """Draw short hair combed to the side."""
    cap(
        canvas,
        head,
        "0.97 0.02, 0.9 -0.3, 0.72 -0.5, 0.2 -0.5, -0.3 -0.62, -0.5 -0.72, "
        "-0.72 -0.5, -0.9 -0.3, -0.97 0.02",
        (5, 17),
    )
    shine(canvas, head, "-0.42 -0.8, 0 -0.9, 0.45 -0.8, 0.72 -0.62")


def quiff(canvas: Canvas, head: Head) -> None:
    """Draw short sides and a high front."""
    _faded_sides(canvas, head)
    canvas.shape(
        head.path(
            "-0.92 -0.42, -1 -0.8, -0.72 -1.16, -0.2 -1.34, 0.45 -1.36, "
            "0.92 -1.14, 1 -0.8, 0.9 -0.44, 0.6 -0.64, 0.1 -0.6, -0.4 -0.66"
        ),
        head.hair,
    )
    shine(canvas, head, "-0.5 -0.84, -0.25 -1.08, 0.2 -1.18, 0.6 -1.1")


def buzz(canvas: Canvas, head: Head) -> None:
    """Draw hair cropped close all over."""
    stubble = mix(head.hair, head.skin, 0.28)
    canvas.shape(
        [
            *head.arch(2, 5, 178, 362),
            *head.path(
                "0.97 0, 0.88 -0.34, 0.66 -0.5, 0.3 -0.6, 0 -0.61, -0.3 -0.6, "
                "-0.66 -0.5, -0.88 -0.34, -0.97 0"
            ),
        ],
        stubble,
    )


def curly_top(canvas: Canvas, head: Head) -> None:
    """Draw short sides and curls on top."""
    _faded_sides(canvas, head)
    rim = head.path(
        "-0.82 -0.62, -0.86 -0.88, -0.6 -1.1, -0.25 -1.2, 0.12 -1.22, "
        "0.48 -1.16, 0.78 -0.96, 0.84 -0.66"
    )
    inner = head.path(
        "-0.5 -0.74, -0.2 -0.7, 0.12 -0.74, 0.42 -0.7, 0 -0.95, -0.4 -0.95, 0.4 -0.95"
    )
    cloud(canvas, [*rim, *inner], 21, head.hair)
    light = lighter(head.hair, 0.16)
    for x, y in head.path("-0.45 -1, 0.05 -1.08, 0.5 -0.96, -0.15 -0.8, 0.3 -0.78"):
        canvas.stroke([(x - 8, y + 2), (x, y - 5), (x + 8, y + 2)], 3, light)


def afro_back(canvas: Canvas, head: Head) -> None:
    """Draw a round afro, seen behind the head."""
    cloud(canvas, head.arch(24, 26, 150, 390), 30, head.hair)
    canvas.ellipse((head.x, head.y - 26), head.half_width + 30, head.half_height + 22, head.hair)


def afro_front(canvas: Canvas, head: Head) -> None:
    """Draw the front of an afro of any size."""
    cap(
        canvas,
        head,
        "0.98 0.02, 0.9 -0.36, 0.6 -0.56, 0 -0.64, -0.6 -0.56, -0.9 -0.36, -0.98 0.02",
        (10, 22),
    )
    cloud(
        canvas,
        head.path("-0.72 -0.58, -0.42 -0.66, -0.1 -0.7, 0.22 -0.7, 0.52 -0.64, 0.8 -0.54"),
        11,
        head.hair,
    )


def soft_fringe(canvas: Canvas, head: Head) -> None:
    """Draw short hair that falls onto the forehead in locks."""
    cap(
        canvas,
        head,
        "0.99 0.06, 0.9 -0.16, 0.8 -0.34, 0.62 -0.2, 0.42 -0.38, 0.16 -0.2, "
        "-0.06 -0.38, -0.34 -0.22, -0.55 -0.4, -0.76 -0.22, -0.9 -0.2, "
        "-0.99 0.06",
        (8, 18),
    )
    shine(canvas, head, "-0.62 -0.72, -0.2 -0.86, 0.3 -0.84")


def middle_part_short(canvas: Canvas, head: Head) -> None:
    """Draw short hair parted in the middle."""
    cap(
        canvas,
        head,
        "1 0.1, 0.93 -0.16, 0.72 -0.34, 0.38 -0.52, 0.04 -0.84, -0.04 -0.84, "
        "-0.38 -0.52, -0.72 -0.34, -0.93 -0.16, -1 0.1",
        (9, 16),
    )
    shine(canvas, head, "0.2 -0.84, 0.5 -0.72, 0.76 -0.5")


def swept_back(canvas: Canvas, head: Head) -> None:
    """Draw hair combed back from the forehead."""
    cap(
        canvas,
        head,
        "0.97 0, 0.9 -0.32, 0.62 -0.58, 0.3 -0.68, 0 -0.7, -0.3 -0.68, "
        "-0.62 -0.58, -0.9 -0.32, -0.97 0",
        (5, 12),
    )
    for strand in (
        "-0.45 -0.78, -0.38 -0.94, -0.27 -1.04",
        "-0.15 -0.78, -0.13 -0.94, -0.09 -1.04",
        "0.18 -0.78, 0.15 -0.94, 0.11 -1.04",
        "0.48 -0.78, 0.41 -0.94, 0.29 -1.04",
    ):
        shine(canvas, head, strand, 2.5)


def top_knot_back(canvas: Canvas, head: Head) -> None:
    """Draw a knot on top of the head."""
    canvas.ellipse((head.x, head.top - 22), 31, 28, head.hair)
    canvas.stroke(
        [
            (head.x - 16, head.top - 26),
            (head.x, head.top - 34),
            (head.x + 15, head.top - 27),
        ],
        3,
        lighter(head.hair, 0.16),
    )


def pixie(canvas: Canvas, head: Head) -> None:
    """Draw short hair with a long sweep to one side."""
    cap(
        canvas,
        head,
        "1 0.2, 0.93 -0.1, 0.74 -0.3, 0.3 -0.3, -0.2 -0.5, -0.48 -0.66, "
        "-0.76 -0.42, -0.93 -0.14, -1 0.16",
        (7, 17),
        10,
    )
    shine(canvas, head, "-0.34 -0.86, 0.1 -0.88, 0.5 -0.72, 0.74 -0.5")
