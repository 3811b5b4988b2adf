"""Hair that falls to the shoulders or stands wide, and the head scarf."""

from __future__ import annotations

from tools.portraits.canvas import Canvas, darker, mirrored, mix
from tools.portraits.head import Head, cap, cloud, hair_behind, shine


def shoulder_length_back(canvas: Canvas, head: Head) -> None:
    """Draw hair that ends between chin and shoulders."""
    hair_behind(
        canvas,
        head,
        "-0.9 -0.6, -1.16 0, -1.2 0.7, -1.12 1.12, -0.72 1.24, -0.3 1.2",
    )


def long_back(canvas: Canvas, head: Head) -> None:
    """Draw straight hair over both shoulders."""
    hair_behind(
        canvas,
        head,
        "-0.95 -0.62, -1.2 0, -1.26 0.8, -1.34 1.4, -1.2 1.94, -0.84 2.2, -0.6 1.9, -0.3 1.56",
    )


def wavy_back(canvas: Canvas, head: Head) -> None:
    """Draw wavy hair over both shoulders."""
    hair_behind(
        canvas,
        head,
        "-0.95 -0.66, -1.24 -0.2, -1.2 0.2, -1.42 0.6, -1.32 1, -1.5 1.36, "
        "-1.34 1.7, -1.3 2.02, -0.92 2.06, -0.74 1.84, -0.6 1.7, -0.3 1.56",
    )


def curls_back(canvas: Canvas, head: Head) -> None:
    """Draw curls down to the shoulders."""
    shade = darker(head.hair, 0.1)
    canvas.ellipse((head.x, head.y), head.half_width + 34, head.half_height + 30, shade)
    for side in (-1, 1):
        column = head.path(
            "1.1 -0.5, 1.34 -0.1, 1.42 0.34, 1.46 0.78, 1.4 1.2, 1.1 1.36, 1.08 0.9",
            side,
        )
        cloud(canvas, column, 30, shade)


def big_afro_back(canvas: Canvas, head: Head) -> None:
    """Draw a wide afro, seen behind the head."""
    cloud(canvas, head.arch(48, 44, 128, 412), 36, head.hair)
    canvas.ellipse((head.x, head.y - 14), head.half_width + 52, head.half_height + 42, head.hair)


def curtains(canvas: Canvas, head: Head) -> None:
    """Draw hair parted in the middle that frames the face down to the jaw."""
    for side in (-1, 1):
        canvas.shape(
            head.path(
                "0 -1.17, 0.55 -1.1, 1 -0.74, 1.19 -0.1, 1.18 0.62, 1 1, 0.97 0.4, "
                "0.9 -0.14, 0.62 -0.46, 0.04 -0.84",
                side,
            ),
            head.hair,
        )
    shine(canvas, head, "0.3 -0.88, 0.66 -0.66, 0.93 -0.3, 1.03 0.1")


def side_sweep(canvas: Canvas, head: Head) -> None:
    """Draw hair parted at the side that frames the face."""
    near = head.path(
        "-0.36 -1.16, -0.8 -0.98, -1.12 -0.5, -1.19 0.2, -1.08 0.9, "
        "-0.96 0.4, -0.92 -0.1, -0.74 -0.46, -0.38 -0.82"
    )
    far = head.path(
        "-0.4 -1.14, 0.2 -1.2, 0.8 -0.98, 1.14 -0.46, 1.2 0.24, 1.08 0.9, "
        "0.97 0.36, 0.88 -0.12, 0.5 -0.4, 0 -0.62, -0.38 -0.8"
    )
    for points in (near, far):
        canvas.shape(points, head.hair)
    shine(canvas, head, "0 -0.88, 0.44 -0.74, 0.82 -0.44, 1 -0.04")


def bangs(canvas: Canvas, head: Head) -> None:
    """Draw a straight fringe with hair down both cheeks."""
    for side in (-1, 1):
        canvas.shape(
            head.path(
                "0.7 -0.9, 1.06 -0.56, 1.18 0.1, 1.17 0.72, 0.98 0.96, 0.95 0.3, 0.86 -0.3",
                side,
            ),
            head.hair,
        )
    cap(
        canvas,
        head,
        "0.94 -0.06, 0.86 -0.2, 0.5 -0.27, 0.1 -0.29, -0.1 -0.29, "
        "-0.5 -0.27, -0.86 -0.2, -0.94 -0.06",
        (9, 15),
        0,
    )
    shine(canvas, head, "-0.6 -0.78, -0.15 -0.9, 0.4 -0.86, 0.66 -0.72")


def braid(canvas: Canvas, head: Head) -> None:
    """Draw a side parting with a braid over one shoulder."""
    side_sweep(canvas, head)
    for i in range(6):
        x, y = head.at(1.2 - 0.05 * i, 0.86 + 0.24 * i)
        canvas.ellipse((x, y), 19 - i, 15, head.hair if i % 2 else darker(head.hair, 0.16))
    x, y = head.at(0.92, 2.26)
    canvas.ellipse((x, y), 9, 7, mix(head.cloth, (255, 255, 255), 0.2))


def ponytail_back(canvas: Canvas, head: Head) -> None:
    """Draw a high ponytail."""
    canvas.shape(
        head.path(
            "0.2 -1.1, 0.9 -1.2, 1.5 -0.7, 1.62 0.2, 1.46 1.1, 1.24 1.5, 1.2 0.9, 1.24 0.2, 1 -0.5"
        ),
        darker(head.hair, 0.12),
    )


def scarf_back(canvas: Canvas, head: Head) -> None:
    """Draw a head scarf, seen behind the head."""
    left = head.path("-0.4 -1.18, -0.9 -0.8, -1.2 0, -1.2 0.9, -1.7 1.7, -1.8 2.6")
    canvas.shape(mirrored(left, head.x), darker(head.cloth, 0.14))


def scarf_front(canvas: Canvas, head: Head) -> None:
    """Draw a scarf round the face and over the shoulders, as a ring with the face left open."""
    outer = [
        *head.arch(17, 17, 150, 390),
        *head.path("0.9 1.1, 0.4 1.34, -0.4 1.34, -0.9 1.1"),
    ]
    face = [*head.arch(-9, -18, 140, 400), *head.path("0.45 0.86, 0 0.97, -0.45 0.86")]
    canvas.shape_with_hole(outer, face, head.cloth)
    canvas.shape(
        head.path(
            "-0.95 0.85, -1.24 1.4, -1.8 1.8, -2 2.6, 2 2.6, 1.8 1.8, 1.24 1.4, "
            "0.95 0.85, 0.5 1.06, 0 1.12, -0.5 1.06"
        ),
        head.cloth,
    )
    fold = darker(head.cloth, 0.2)
    for line in (
        "-0.86 0.78, -0.3 1.2, 0.5 1.46, 1.16 1.64",
        "-0.92 1.1, -0.3 1.56, 0.4 1.86",
        "-0.62 -0.86, 0 -1.02, 0.62 -0.86",
    ):
        canvas.stroke(head.path(line), 3, fold)
