"""Makes the copies of a photo that are kept: the photo, and a thumbnail around its owner's face.

The other people have consented to nothing. The kept copy shows the owner's face at its old place,
so that analyzing the copy again finds the same face, and every other face that was detected as a
few large squares, whether or not the owner had to choose.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from automatch.model.faces import EyePlaces
from automatch.vision.decode.scaling import scaled
from automatch.vision.detect.detector import contains_middle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from automatch.vision.detect.detector import Detection, Points

_HEAD = 0.35
"""Margin as a share of the box's side: a box ends at brows and chin, and a head is larger."""

_SQUARES = 6
"""Squares that a redacted head has in each direction."""

_PORTRAIT, _CLOSE_UP, _STEPS = 2.2, 1.0, 13
"""Largest and smallest side of the thumbnail's square, in sides of the face: head and shoulders,
and less near the edge of the photo, so that the face lies in the circle that pages cut out."""

_KEPT_QUALITY = 90
_THUMBNAIL = {"quality": 55, "method": 2}
"""A phone loads a dozen with the feed. A higher method takes twice as long for a twentieth less."""


def redacted(
    page: Image.Image, own: Detection, detections: Iterable[Detection]
) -> Image.Image | None:
    """Return a photo in which only one face can be recognised; `None` if it is the only one.

    Args:
        page: the photo.
        own: the face of its owner.
        detections: all that may be a face in it.
    """
    # Detectors sometimes take a part of a face for another face.
    others = [face for face in detections if face is not own and not _is_part(face, own)]
    if not others:
        return None
    squares, hidden = page.copy(), Image.new("L", page.size, 0)
    for face in others:
        head = _around(page, face, _HEAD)
        squares.paste(_pixelate(squares.crop(head)), head)
        hidden.paste(255, head)
    # Where heads overlap, the owner's goes before, but for the faces themselves.
    hidden.paste(0, _around(page, own, _HEAD))
    for face in others:
        hidden.paste(255, _around(page, face, 0))
    hidden.paste(0, _around(page, own, 0))
    return Image.composite(squares, page, hidden)


def portrait(page: Image.Image, own: Detection, side: int) -> bytes:
    """Return a square around a face as WebP, at most *side* pixels long."""
    left, top, length = _portrait_square(page.size, own)
    return thumbnail(page.crop((left, top, left + length, top + length)), side)


def place_eyes(size: tuple[int, int], own: Detection, eyes: Points) -> EyePlaces | None:
    """Return where the eyes of the *own* face are in the copies of a photo of this size."""
    if not eyes:
        return None
    width, height = size
    left, right = ((round(x / width, 5), round(y / width, 5)) for x, y in eyes)
    edge, top, side = (round(length / width, 5) for length in _portrait_square(size, own))
    return EyePlaces(left, right, round(height / width, 5), (edge, top, side))


def thumbnail(page: Image.Image, side: int) -> bytes:
    """Return a picture as WebP, at most *side* pixels long."""
    scale = min(1.0, side / max(page.size))
    size = max(1, round(page.width * scale)), max(1, round(page.height * scale))
    out = io.BytesIO()
    scaled(page, size, cubic=True).save(out, "WEBP", **_THUMBNAIL)
    return out.getvalue()


def kept_copy(page: Image.Image) -> bytes:
    """Return a picture as the JPEG that is kept."""
    out = io.BytesIO()
    page.save(out, "JPEG", quality=_KEPT_QUALITY)
    return out.getvalue()


def _portrait_square(size: tuple[int, int], own: Detection) -> tuple[int, int, int]:
    """Return left edge, top edge and side of the square that shows a face with its surroundings."""
    width, height = size
    box = own.box
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    left, top, length = 0, 0, min(size)
    for factor in np.linspace(_PORTRAIT, _CLOSE_UP, _STEPS):
        length = max(1, min(round(factor * own.side), width, height))
        left = min(max(round(x - length / 2), 0), width - length)
        top = min(max(round(y - length / 2), 0), height - length)
        off_centre = math.hypot(left + length / 2 - x, top + length / 2 - y)
        if off_centre + own.side / 2 <= length / 2:
            break
    return left, top, length


def _around(page: Image.Image, detection: Detection, margin: float) -> tuple[int, int, int, int]:
    box = detection.box
    more = round(margin * detection.side)
    return (
        max(box.left - more, 0),
        max(box.top - more, 0),
        min(box.right + more, page.width),
        min(box.bottom + more, page.height),
    )


def _is_part(detection: Detection, face: Detection) -> bool:
    """Return whether the middle of a detection lies in a face that it does not reach far beyond."""
    return detection.side <= 1.5 * face.side and contains_middle(face.box, detection.box)


def _pixelate(head: Image.Image) -> Image.Image:
    squares = head.resize((_SQUARES, _SQUARES), Image.Resampling.BOX)
    return squares.resize(head.size, Image.Resampling.NEAREST)
