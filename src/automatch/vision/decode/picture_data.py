"""What of a photo file is handed to a decoder, and whether the file holds all of its rows.

The child process loads this file on its own, as it does `image_header.py`. Browsers ignore notes
that are broken or large, show a JPEG whose end mark is missing, and fill rows that are missing with
grey; Pillow refuses the first two and does not report the third.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import TYPE_CHECKING, Literal

from PIL import JpegImagePlugin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from automatch.vision.decode import image_header
else:
    import image_header

_PNG_MARK = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT"})
_MAX_CHUNKS = 20_000
"""A PNG of the largest size allowed has about 2,000 when it is written in pieces of 8 KiB."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Of each colour type of a PNG."""
_INTERLACED = [
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
]
"""First column and row of each pass of an interlaced PNG, and the steps to the next."""
_INFLATED_AT_ONCE = 1 << 20

_SOI, _EOI, _SOS, _SOF = b"\xff\xd8", b"\xff\xd9", 0xDA, frozenset({0xC0, 0xC1, 0xC2})
_APP1 = 0xE1
_JPEG_NOTES = frozenset({0xFE, *range(0xE1, 0xF0)}) - {0xEE}
"""Comments and application segments, but for APP0 and APP14: these say how colours are coded."""
_NEXT_SEGMENT = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_MAX_SEGMENTS = 1000

_GREY = range(127, 130)
"""What libjpeg draws where the data ended early."""

_PADDING = b"\x55" * 64
"""libjpeg reads a few bytes ahead, and waits for them instead of drawing the last row."""


_EXIF_MARK = b"Exif\0\0"
_ORIENTATION, _SHORT = 0x0112, 3
_MAX_TAGS = 1000


def drawn_data(kind: str, data: bytes) -> tuple[bytes, bytes]:
    """Return a photo file without what is not drawn, ended as its format demands; and its EXIF.

    Only of PNG and JPEG. Of other types the decoder reads the EXIF data.

    Raises:
        image_header.PhotoFileError: it has too many parts.
    """
    if kind == "png":
        return _png_without_notes(data)
    if kind == "jpeg":
        return _jpeg_without_notes(data)
    return data, b""


def orientation(exif: bytes) -> int:
    """Return the orientation that EXIF data name; 1, which is upright, if they name none.

    Read here, because Pillow reads every tag and its value.
    """
    exif = exif.removeprefix(_EXIF_MARK)
    if exif[:2] not in {b"II", b"MM"}:
        return 1
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"
    first = int.from_bytes(exif[4:8], order)
    count = int.from_bytes(exif[first : first + 2], order)
    for at in range(first + 2, first + 2 + 12 * min(count, _MAX_TAGS), 12):
        tag, kind = (int.from_bytes(exif[at + i : at + i + 2], order) for i in (0, 2))
        if tag == _ORIENTATION and kind == _SHORT:
            return int.from_bytes(exif[at + 8 : at + 10], order)
    return 1


def lacks_rows(kind: str, data: bytes, photo: Image.Image) -> bool:
    """Return whether rows of a JPEG or PNG are missing in its file; other decoders tell.

    Args:
        kind: the type of the file.
        data: the file as `drawn_data` returns it.
        photo: what was decoded from it, at its size or a fraction of it.
    """
    if kind == "png":
        return (_is_interlaced(data) or _ends_empty(photo)) and _lacks_png_data(data)
    return kind == "jpeg" and _lacks_jpeg_rows(data, photo)


def _lacks_jpeg_rows(data: bytes, photo: Image.Image) -> bool:
    scans = list(_scans(data)) if _is_progressive(data) else []
    if scans:
        return not _covers_all(scans)
    return _ends_grey(photo) and not _draws_last_row(data, photo.size)


def _png_without_notes(data: bytes) -> tuple[bytes, bytes]:
    file = memoryview(data)
    parts: list[bytes | memoryview] = [_PNG_MARK]
    at, exif = len(_PNG_MARK), b""
    for _ in range(_MAX_CHUNKS):
        end = at + 12 + int.from_bytes(file[at : at + 4], "big")
        name = bytes(file[at + 4 : at + 8])
        if name == b"IEND" or end > len(file):
            return b"".join([*parts, _PNG_END]), exif
        if name == b"eXIf" and not exif and _is_intact(file[at + 4 : end]):
            exif = bytes(file[at + 8 : end - 4])
        elif name in _PNG_CRITICAL or (name == b"tRNS" and _is_intact(file[at + 4 : end])):
            parts.append(file[at:end])
        at = end
    raise image_header.PhotoFileError("image_too_complex")


def _jpeg_without_notes(data: bytes) -> tuple[bytes, bytes]:
    parts, at, exif = [_SOI], len(_SOI), b""
    for _ in range(_MAX_SEGMENTS):
        found = _NEXT_SEGMENT.search(data, at)
        if found is None or data[found.start() + 1] == _EOI[1]:
            raise image_header.PhotoFileError("image_damaged")
        at, marker = found.start(), data[found.start() + 1]
        if marker == _SOS:
            end = b"" if data.endswith(_EOI) else _EOI
            return b"".join([*parts, data[at:], end]), exif
        end_at = at + 2
        if marker not in _NO_LENGTH:
            end_at += int.from_bytes(data[at + 2 : at + 4], "big")
            if marker not in _JPEG_NOTES:
                parts.append(data[at:end_at])
            elif marker == _APP1 and not exif and data[at + 4 : at + 10] == _EXIF_MARK:
                exif = data[at + 4 : end_at]
        at = end_at
    raise image_header.PhotoFileError("image_too_complex")


def _is_intact(chunk: memoryview) -> bool:
    """Return whether the checksum behind a chunk's name and content is right."""
    return zlib.crc32(chunk[:-4]) == int.from_bytes(chunk[-4:], "big")


def _is_interlaced(png: bytes) -> bool:
    return png[28] == 1


def _ends_empty(photo: Image.Image) -> bool:
    """Return whether the last row is what Pillow leaves where a PNG's data end early."""
    return photo.crop((0, photo.height - 1, *photo.size)).getbbox(alpha_only=False) is None


def _lacks_png_data(png: bytes) -> bool:
    """Return whether a PNG's compressed data end before its last row."""
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    bits = png[24] * _CHANNELS.get(png[25], 1)
    passes = _INTERLACED if _is_interlaced(png) else [(0, 0, 1, 1)]
    missing = 0
    for left, top, step_x, step_y in passes:
        columns, rows = -(-(width - left) // step_x), -(-(height - top) // step_y)
        missing += rows * (1 + -(-columns * bits // 8)) if columns > 0 else 0
    inflating = zlib.decompressobj()
    at = len(_PNG_MARK)
    while missing > 0 and at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        part = png[at + 8 : end - 4] if png[at + 4 : at + 8] == b"IDAT" else b""
        while part and missing > 0:
            missing -= len(inflating.decompress(part, _INFLATED_AT_ONCE))
            part = inflating.unconsumed_tail
        at = end
    return missing > 0


def _ends_grey(photo: Image.Image) -> bool:
    """Return whether the last rows are what libjpeg draws for missing data."""
    width, height = photo.size
    low_high = photo.crop((0, height - 1, width, height)).getextrema()
    bands = low_high if isinstance(low_high[0], tuple) else (low_high,)
    return all(low in _GREY and high in _GREY for low, high in bands[:3])


def _draws_last_row(data: bytes, size: tuple[int, int]) -> bool:
    """Return whether a decoder that is never told of the file's end draws the last row.

    It waits for data that are missing, and leaves the rows black that would come from them.
    """
    picture = data[: _end_of_picture(data)] + _PADDING
    with JpegImagePlugin.JpegImageFile(io.BytesIO(picture)) as again:
        again.draft(None, size)
        try:
            again.load()
        except OSError:
            if again.im is None:
                return False
            last = again.im.getpixel((0, again.size[1] - 1))
            return any(last) if isinstance(last, tuple) else bool(last)
    return True


def _end_of_picture(data: bytes) -> int:
    for marker, at in _segments(data):
        if marker == _EOI[1]:
            return at
    return len(data)


def _is_progressive(data: bytes) -> bool:
    for marker, _ in _segments(data):
        if marker in _SOF:
            return marker == 0xC2
    return False


def _scans(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield of each scan its components, and the first and the last coefficient it brings.

    Before them comes one of no coefficients, with all components of the picture.
    """
    for marker, at in _segments(data):
        if marker == 0xC2:
            count = data[at + 9]
            yield bytes(data[at + 10 : at + 10 + 3 * count : 3]), 1, 0
        elif marker == _SOS:
            count = data[at + 4]
            tail = at + 5 + 2 * count
            yield bytes(data[at + 5 : tail : 2]), data[tail], data[tail + 1]


def _covers_all(scans: list[tuple[bytes, int, int]]) -> bool:
    """Return whether every component has its mean and its finest detail in some scan."""
    wanted = set(scans[0][0])
    means = {part for parts, first, last in scans if first == 0 <= last for part in parts}
    details = {part for parts, _, last in scans if last == 63 for part in parts}
    return wanted <= means and wanted <= details


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield marker and place of each segment of a JPEG up to its end."""
    at = 2
    for _ in range(_MAX_SEGMENTS):
        found = _NEXT_SEGMENT.search(data, at)
        if found is None:
            return
        at = found.start()
        marker = data[at + 1]
        yield marker, at
        if marker == _EOI[1]:
            return
        at += 2 if marker in _NO_LENGTH else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
