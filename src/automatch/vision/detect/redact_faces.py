"""The others in a photo of which one face was chosen: they agreed to nothing, and are not shown.

What is kept of such a photo shows the chosen face alone, at its old place, so that another look at
it finds the same. The other faces are coarsened beyond recognition.
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
"""A detector's box ends at brows and chin: so much of its side is added all around for a head."""

_GRAINS = 6
"""Squares that are left of a head in each direction."""

_PORTRAIT = 0.9
"""Likewise around the chosen face for the thumbnail: head and shoulders."""

_KEPT_QUALITY = 90
_THUMBNAIL_QUALITY = 85


def copies_without_others(
    photo: npt.NDArray[np.uint8], own: Detection, findings: Iterable[Detection], thumbnail_side: int
) -> tuple[bytes, bytes]:
    """Return the clean copy and the thumbnail, as JPEG, with no face but *own*.

    Args:
        photo: (height, width, 3) RGB, the kept copy.
        own: the chosen face.
        findings: all that may be a face in *photo*.
        thumbnail_side: longest side of the thumbnail in pixels.
    """
    page = Image.fromarray(photo)
    head = _around(page, own, _HEAD)
    own_pixels = page.crop(head)
    for finding in findings:
        if finding is not own:
            place = _around(page, finding, _HEAD)
            page.paste(_coarse(page.crop(place)), place)
    # Cheek to cheek, the chosen face stays whole.
    page.paste(own_pixels, head)
    portrait = page.crop(_around(page, own, _PORTRAIT))
    portrait.thumbnail((thumbnail_side, thumbnail_side))
    return _jpeg(page, _KEPT_QUALITY), _jpeg(portrait, _THUMBNAIL_QUALITY)


def _around(page: Image.Image, finding: Detection, margin: float) -> tuple[int, int, int, int]:
    box = finding.box
    more = round(margin * finding.side)
    return (
        max(box.left - more, 0),
        max(box.top - more, 0),
        min(box.right + more, page.width),
        min(box.bottom + more, page.height),
    )


def _coarse(head: Image.Image) -> Image.Image:
    grains = head.resize((_GRAINS, _GRAINS), Image.Resampling.BOX)
    return grains.resize(head.size, Image.Resampling.NEAREST)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()
