"""Scales pictures, for the decoder, the detectors and the thumbnails.

The decoder's child process loads this file on its own, as it does `image_header.py`.
"""

from __future__ import annotations

import cykooz_resizer as resizer

_FORMS = {"L": "U8", "RGB": "U8x3", "RGBA": "U8x4", "CMYK": "U8x4"}
"""Of each mode of Pillow, how its pixels lie in memory."""


def scaled(
    pixels: bytes, mode: str, size: tuple[int, int], to: tuple[int, int], *, cubic: bool
) -> bytes:
    """Return the pixels of a picture at another size, each averaged from all that it covers.

    Args:
        pixels: in rows from the top.
        mode: L, RGB, RGBA or CMYK.
        size: width and height.
        to: likewise, of the result.
        cubic: sharper than the linear filter, for pictures that people look at.
    """
    if size == to:
        return pixels
    form = resizer.PixelType[_FORMS[mode]]
    result = resizer.ImageData(*to, form)
    shape = resizer.FilterType.catmull_rom if cubic else resizer.FilterType.bilinear
    resizer.Resizer().resize(
        resizer.ImageData(*size, form, pixels),
        result,
        resizer.ResizeOptions(resizer.ResizeAlg.convolution(shape), use_alpha=mode == "RGBA"),
    )
    scaled_pixels: bytes = result.get_buffer()
    return scaled_pixels
