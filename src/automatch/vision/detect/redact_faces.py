"""Makes the other faces of a photo unrecognisable when the uploader has chosen one of several.

The other people have consented to nothing. The kept copy shows the chosen face at its old place, so
that analyzing the copy again finds the same face, and every other face as a few large squares.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    from automatch.vision.detect.detector import Detection

_HEAD = 0.35
"""Margin as a share of the box's side: a box ends at brows and chin, and a head is larger."""

_SQUARES = 6
"""Squares that a redacted head has in each direction."""

_PORTRAIT = 0.9
"""Margin around the chosen face for the thumbnail, which shows head and shoulders."""

_KEPT_QUALITY = 90
_THUMBNAIL_QUALITY = 85


def redact_other_faces(
    photo: npt.NDArray[np.uint8],
    own: Detection,
    detections: Iterable[Detection],
    thumbnail_side: int,
) -> tuple[bytes, bytes]:
    """Return the clean copy and the thumbnail, as JPEG, with no face but *own*.

    Args:
        photo: (height, width, 3) RGB, the kept copy.
        own: the chosen face.
        detections: all detections in *photo*, *own* among them.
        thumbnail_side: longest side of the thumbnail in pixels.
    """
    page = Image.fromarray(photo)
    head = _around(page, own, _HEAD)
    own_pixels = page.crop(head)
    for detection in detections:
        if detection is not own:
            place = _around(page, detection, _HEAD)
            page.paste(_pixelate(page.crop(place)), place)
    # Where heads overlap, the chosen one stays whole.
    page.paste(own_pixels, head)
    portrait = page.crop(_around(page, own, _PORTRAIT))
    portrait.thumbnail((thumbnail_side, thumbnail_side))
    return _jpeg(page, _KEPT_QUALITY), _jpeg(portrait, _THUMBNAIL_QUALITY)


def _around(page: Image.Image, detection: Detection, margin: float) -> tuple[int, int, int, int]:
    box = detection.box
    more = round(margin * detection.side)
    return (
        max(box.left - more, 0),
        max(box.top - more, 0),
        min(box.right + more, page.width),
        min(box.bottom + more, page.height),
    )


def _pixelate(head: Image.Image) -> Image.Image:
    squares = head.resize((_SQUARES, _SQUARES), Image.Resampling.BOX)
    return squares.resize(head.size, Image.Resampling.NEAREST)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()
