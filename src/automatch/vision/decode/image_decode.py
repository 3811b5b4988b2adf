"""Decodes a photo file of any supported type to an upright RGB picture.

No other code decodes, and this runs in the decoder's child process only.
"""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import TYPE_CHECKING

import pillow_heif
from PIL import (
    AvifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,  # noqa: F401  (Pillow reads EXIF with it, and later no file can be opened)
    WebPImagePlugin,
)

if TYPE_CHECKING:
    from automatch.vision.decode import image_header, picture_data, scaling
else:
    import image_header
    import picture_data
    import scaling

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# A named plugin keeps Pillow from guessing the type. A phone's multi-picture file (MPO) is read as
# a JPEG: its first picture is the photo.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "heif": pillow_heif.HeifImageFile,
    "avif": AvifImagePlugin.AvifImageFile,
}

# One thread each, because the worker already decodes several photos in parallel.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
pillow_heif.options.DECODE_THREADS = 1
# Only the photo itself is read: a thumbnail in the file may show something else.
pillow_heif.options.THUMBNAILS = False
pillow_heif.options.DEPTH_IMAGES = False
pillow_heif.options.AUX_IMAGES = False

# The exceptions that Pillow raises for damaged files.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


_REDUCING_GAP = 2.0
"""How far pixels of a picture that is much larger are averaged first, which takes less memory; see
`Image.resize`."""

# The messages of Pillow and libavif, and of libheif.
_NO_MEMORY = ("out of memory", "memory allocation")


def decode(
    data: bytes, limits: image_header.Limits, kept_side: int
) -> tuple[tuple[int, int], bytes]:
    """Return width and height of the photo, upright and at most *kept_side* long; and its RGB.

    Raises:
        image_header.PhotoFileError: the file cannot be used.
    """
    kind = image_header.check(data, limits)
    data, exif = picture_data.drawn_data(kind, data)
    try:
        with _PLUGINS[kind](io.BytesIO(data)) as photo:
            # Checked again, because the decoder may read another size from the file than `check`
            # did.
            image_header.check_size(*photo.size, limits)
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the work.
            photo.draft(None, _fit(photo.size, kept_side))
            photo.load()
            if picture_data.lacks_rows(kind, data, photo):
                raise image_header.PhotoFileError("image_damaged")
            # The size of a decoded HEIC may differ from the one in its header.
            size = _fit(photo.size, kept_side)
            turn = _TURNS.get(picture_data.orientation(exif or photo.info.get("exif") or b""))
            return _finished(_plain(photo), size, turn)
    except _DAMAGE as exc:
        if any(words in str(exc).lower() for words in _NO_MEMORY):
            raise MemoryError from exc
        raise image_header.PhotoFileError("image_damaged") from exc


def _fit(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _plain(image: Image.Image) -> Image.Image:
    """Return *image* in a mode that can be resized: L, RGB, RGBA or CMYK."""
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16 bits to 8 instead of scaling them.
        return image.point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in {"L", "RGB", "CMYK"} else image.convert("RGB")


def _finished(
    image: Image.Image, size: tuple[int, int], turn: Image.Transpose | None
) -> tuple[tuple[int, int], bytes]:
    """Return a plain image at this size, then turned, as its size and its RGB."""
    factor = int(min(image.width / size[0], image.height / size[1]) / _REDUCING_GAP)
    if factor > 1:
        image = image.reduce(factor)
    page = _flatten(scaling.scaled(image, size, cubic=True))
    if turn is not None:
        page = page.transpose(turn)
    return page.size, page.tobytes()


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image if image.mode == "RGB" else image.convert("RGB")
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image.getchannel("A"))
    return page


def warm_up() -> None:
    """Decode samples, so that late imports of the libraries happen before files are denied."""
    for kind, plugin in _PLUGINS.items():
        with plugin(io.BytesIO(_sample(kind))) as photo:
            photo.load()
            _finished(_plain(photo), (8, 8), Image.Transpose.ROTATE_90)


def _sample(kind: str) -> bytes:
    if kind in _SAMPLES:
        return base64.b64decode(_SAMPLES[kind])
    out = io.BytesIO()
    Image.new("RGBA" if kind == "png" else "RGB", (16, 16)).save(out, kind)
    return out.getvalue()


# Grey squares, encoded beforehand: an encoder would hold threads and memory for nothing else.
_SAMPLES = {
    "heif": (
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAA"
        "AAAAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAAA4AAAAjaWluZgAAAAAAAQAAABVpbmZl"
        "AgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHv"
        "AA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCB"
        "BZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAA"
        "AAAABAAAAAQAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAABZtZGF0AAAACigBrwUY"
        "/SEkGsA="
    ),
    "avif": (
        "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdA"
        "AAAAAAAAAAAAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAHwAAAChpaW5m"
        "AAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAEA"
        "AAABAAAAAQcGl4aQAAAAADCAgIAAAADGF2MUOBAAwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAA"
        "AAEAAQQBAoMEAAAAJ21kYXQSAAoJGAz/2iAhoNCAMhAf94eFFd///+LAAAB1fWZY"
    ),
}
