"""A head turned to a side, computed from a photo from the front."""

from __future__ import annotations

import numpy as np
from PIL import Image

from automatch.vision.results import Box

_RADIUS = 0.62
_NOSE_HEIGHT, _NOSE_WIDTH, _NOSE_LENGTH = 0.30, 0.17, 0.13
_NOSE_AT = 0.58
"""All in widths or heights of the face's box."""


def turned(photo: Image.Image, box: Box, degrees: float) -> Image.Image:
    """Return *photo* with the head in *box* turned.

    The picture is laid on a cylinder with a nose on it; each row's points move by how far they
    stand out. There are no ears and no cheek behind, so it is good to about 45 degrees.
    """
    pixels = np.asarray(photo)
    angle = np.deg2rad(degrees)
    x = (np.arange(photo.width) - (box.left + box.right) / 2) / box.width
    head = np.abs(x) < _RADIUS
    cylinder = np.sqrt(np.maximum(_RADIUS**2 - x**2, 0))
    page = pixels.copy()
    for row in range(photo.height):
        along = (row - box.top) / box.height - _NOSE_AT
        nose = _NOSE_HEIGHT * np.exp(-((along / _NOSE_LENGTH) ** 2) - (x / _NOSE_WIDTH) ** 2)
        to = x[head] * np.cos(angle) + (cylinder + nose)[head] * np.sin(angle)
        # What is hidden behind what stands out before it is not drawn.
        to = np.maximum.accumulate(to)
        shown = (x >= to[0]) & (x <= to[-1])
        columns = np.interp(x[shown], to, np.flatnonzero(head)).round().astype(int)
        page[row, shown] = pixels[row, columns]
    return Image.fromarray(page)
