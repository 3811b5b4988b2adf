"""Scales pictures, for the decoder, the detectors and the thumbnails.

The decoder's child process loads this file on its own, as it does `image_header.py`.
"""

from __future__ import annotations

import cykooz_resizer as resizer
from PIL import Image


def scaled(image: Image.Image, to: tuple[int, int], *, cubic: bool) -> Image.Image:
    """Return a picture at another size, each of its pixels averaged from all that it covers.

    Args:
        image: of mode L, RGB, RGBA or CMYK.
        to: width and height.
        cubic: sharper than the linear filter, for pictures that people look at.
    """
    if image.size == to:
        return image
    result = Image.new(image.mode, to)
    shape = resizer.FilterType.catmull_rom if cubic else resizer.FilterType.bilinear
    options = resizer.ResizeOptions(resizer.ResizeAlg.convolution(shape))
    # It reads and writes the pixels where Pillow keeps them, which saves four copies.
    resizer.Resizer().resize_pil(image, result, options)
    return result
