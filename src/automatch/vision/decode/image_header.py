"""Reads the type and size of a photo file from its header, and checks them against limits.

The decoder's child process loads this module without the package, so it imports only the standard
library and has its own exception. The parsers are hand-written because even opening a file with
Pillow does work of which the file decides the amount: a PNG may have 60 MB of compressed text
before its pixels, a JPEG four million segments. Here every file takes a bounded number of steps, so
the upload handler can check it too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OUT_OF_MEMORY_EXIT = 77
"""Exit status of the decoder's child when a photo needed more memory than its limit."""

# A large photo with an embedded depth map has about a hundred.
_MAX_SEGMENTS = 1000

_ALL_SCANS_PIXELS = 15_000_000
"""Pixels of a JPEG that may have all scans allowed; a larger one may have as many fewer. A scan
takes about a nanosecond a pixel, and encoders write about 10."""

_USUAL_SCANS = 20
_COSTS_NS = {
    "jpeg": (3, 20),
    "png": (40, 0),
    "webp": (30, 50),
    "heif": (30, 140),
    "avif": (20, 100),
}
"""Nanoseconds of CPU a pixel and a byte, from the figures of docs/vision.md."""

_MAX_TILES, _MAX_TILE_DEPTH, _MAX_PROPERTY_BYTES = 1000, 4, 65_536
"""Tiles of a HEIC or AVIF, which phones write at 512 x 512 pixels, and how deep they are nested."""

_PAD, _SOS, _EOI = 0xFF, 0xDA, 0xD9
_PNG_HEADER, _WEBP_HEADER = 24, 30
_MAX_BRANDS_END = 256
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis"})
_NO_LENGTH = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Inside a scan 0xFF is followed by 0x00 or a restart marker; anything else ends the scan.
_NEXT_SEGMENT = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


@dataclass(frozen=True)
class Limits:
    """Limits on what the header of a photo file declares."""

    max_pixels: int
    min_side: int
    max_aspect: float
    max_scans: int


class PhotoFileError(Exception):
    """The file cannot be used; `code` is that of a class in `automatch.errors`."""

    def __init__(self, code: str, message: str | None = None) -> None:
        """A *message* replaces the default one of the error."""
        super().__init__(code)
        self.code = code
        self.message = message


def check(data: bytes, limits: Limits) -> str:
    """Return the type of a photo file by its content.

    It is one of `jpeg`, `png`, `webp`, `heif` (HEIC) and `avif`.

    Raises:
        PhotoFileError: it is empty, of another type, or outside the limits.
    """
    if not data:
        raise PhotoFileError("file_empty")
    kind = _kind(data)
    try:
        width, height = _SIZES[kind](data)
        is_complex = False
        if kind in {"heif", "avif"}:
            is_complex = _tiled_pixels(data) > 2 * limits.max_pixels
    except IndexError as exc:
        raise PhotoFileError("image_damaged") from exc
    check_size(width, height, limits)
    if is_complex:
        raise PhotoFileError("image_too_complex")
    if kind == "jpeg":
        share = min(1.0, _ALL_SCANS_PIXELS / (width * height))
        _check_scans(data, max(1, int(limits.max_scans * share)))
    return kind


def estimate_cpu_s(data: bytes) -> float:
    """Return about how many seconds of CPU a file takes to decode.

    Raises:
        PhotoFileError: it is of another type, or its header is damaged.
    """
    kind = _kind(data)
    try:
        width, height = _SIZES[kind](data)
        pixels = max(width * height, _tiled_pixels(data) if kind in {"heif", "avif"} else 0)
    except IndexError as exc:
        raise PhotoFileError("image_damaged") from exc
    a_pixel, a_byte = _COSTS_NS[kind]
    # The count includes bytes that are not scans only where a film follows the photo.
    scans = min(data.count(b"\xff\xda"), _USUAL_SCANS) if kind == "jpeg" else 0
    return 1e-9 * (pixels * (a_pixel + scans) + len(data) * a_byte)


def check_size(width: int, height: int, limits: Limits) -> None:
    """Check the number of pixels, the shorter side and the aspect ratio.

    Raises:
        PhotoFileError: it is outside the limits.
    """
    if width < 1 or height < 1:
        raise PhotoFileError("image_damaged")
    if width * height > limits.max_pixels:
        raise PhotoFileError(
            "image_too_large_pixels",
            f"The photo has {width * height / 1e6:.1f} megapixels; "
            f"send one of at most {limits.max_pixels / 1e6:g} megapixels.",
        )
    if min(width, height) < limits.min_side:
        raise PhotoFileError(
            "image_too_small",
            f"The photo is {width} x {height} pixels; "
            f"send one of at least {limits.min_side} pixels on each side.",
        )
    if max(width, height) > limits.max_aspect * min(width, height):
        raise PhotoFileError(
            "image_bad_shape",
            f"The photo of {width} x {height} pixels is too long and narrow; "
            "crop it to the person.",
        )


def _kind(data: bytes) -> str:
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        # The main brand, four bytes of version, and the compatible brands.
        end = min(int.from_bytes(data[:4], "big"), _MAX_BRANDS_END)
        brands = {data[at : at + 4] for at in (8, *range(16, end, 4))}
        if brands & _AVIF_BRANDS:
            return "avif"
        if brands & _HEIF_BRANDS:
            return "heif"
    raise PhotoFileError("image_type_unsupported")


def _png_size(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR" or len(data) < _PNG_HEADER:
        raise PhotoFileError("image_damaged")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _webp_size(data: bytes) -> tuple[int, int]:
    if len(data) < _WEBP_HEADER:
        raise PhotoFileError("image_damaged")
    form, body = data[12:16], data[20:30]
    if form == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if form == b"VP8L" and body.startswith(b"\x2f"):
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if form == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = int.from_bytes(body[6:8], "little"), int.from_bytes(body[8:10], "little")
        return width & 0x3FFF, height & 0x3FFF
    raise PhotoFileError("image_damaged")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(_MAX_SEGMENTS):
        # Cameras write padding between segments, which decoders skip.
        at = data.find(b"\xff", at)
        if at < 0:
            raise PhotoFileError("image_damaged")
        marker = data[at + 1]
        if marker == _PAD:
            at += 1
            continue
        if marker in _FRAME_HEADERS:
            height, width = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (5, 7))
            return width, height
        if marker in {_SOS, _EOI}:
            raise PhotoFileError("image_damaged")
        at += 2 if marker in _NO_LENGTH or marker == 0 else _segment_length(data, at)
    raise PhotoFileError("image_too_complex")


def _heif_size(data: bytes) -> tuple[int, int]:
    """Return the size of the largest picture: tiles, thumbnail and masks are smaller."""
    _, meta, meta_end = _box(data, b"meta", 0, len(data))
    # Four bytes of version and flags precede the inner boxes.
    _, at, end = _box(data, b"iprp", meta + 4, meta_end)
    sizes = [size for size in _listed_sizes(data, at, end) if size]
    if not sizes:
        raise PhotoFileError("image_damaged")
    return max(sizes, key=lambda size: size[0] * size[1])


def _listed_sizes(data: bytes, at: int, end: int) -> list[tuple[int, int] | None]:
    """Return the properties of a HEIC's or AVIF's pictures in their order, of sizes their value."""
    _, at, end = _box(data, b"ipco", at, end)
    return [
        (_number(data, body + 4, 4), _number(data, body + 8, 4)) if name == b"ispe" else None
        for name, body, _ in _boxes(data, at, end)
    ]


def _tiled_pixels(data: bytes) -> int:
    """Return the pixels of all tiles of the picture with most of them; 0 without tiles."""
    _, meta, meta_end = _box(data, b"meta", 0, len(data))
    tiles: dict[int, list[int]] = {}
    for name, at, end in _boxes(data, meta + 4, meta_end):
        if name == b"iref":
            tiles = _references(data, at, end)
    if not tiles:
        return 0
    _, at, end = _box(data, b"iprp", meta + 4, meta_end)
    pixels = _pixels_of_items(data, at, end)

    @cache
    def decoded(item: int, depth: int) -> int:
        if item not in tiles:
            return pixels.get(item, 0)
        if not depth:
            raise PhotoFileError("image_too_complex")
        return sum(decoded(tile, depth - 1) for tile in tiles[item])

    return max(decoded(item, _MAX_TILE_DEPTH) for item in tiles)


def _references(data: bytes, at: int, end: int) -> dict[int, list[int]]:
    """Return the tiles of each picture that is put together from others."""
    size = 4 if data[at] else 2
    tiles: dict[int, list[int]] = {}
    for name, body, _ in _boxes(data, at + 4, end):
        if name == b"dimg":
            count, first = _number(data, body + size, 2), body + size + 2
            if count + sum(map(len, tiles.values())) > _MAX_TILES:
                raise PhotoFileError("image_too_complex")
            tiles.setdefault(_number(data, body, size), []).extend(
                _number(data, first + i * size, size) for i in range(count)
            )
    return tiles


def _pixels_of_items(data: bytes, at: int, end: int) -> dict[int, int]:
    """Return the pixels of each picture by its number, by its largest size."""
    sizes = _listed_sizes(data, at, end)
    pixels: dict[int, int] = {}
    room = _MAX_PROPERTY_BYTES
    for name, body, stop in _boxes(data, at, end):
        if name != b"ipma":
            continue
        room -= stop - body
        if room < 0:
            raise PhotoFileError("image_too_complex")
        id_size, index_size = (4 if data[body] else 2), (2 if data[body + 3] & 1 else 1)
        at_item = body + 8
        for _ in range(min(_number(data, body + 4, 4), stop - body)):
            item, count = _number(data, at_item, id_size), _number(data, at_item + id_size, 1)
            at_item += id_size + 1
            for _ in range(count):
                # The first bit says whether the property is essential.
                index = _number(data, at_item, index_size) & (0x7FFF if index_size == 2 else 0x7F)
                at_item += index_size
                if 0 < index <= len(sizes) and (size := sizes[index - 1]):
                    pixels[item] = max(pixels.get(item, 0), size[0] * size[1])
    return pixels


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _box(data: bytes, wanted: bytes, at: int, end: int) -> tuple[bytes, int, int]:
    for box in _boxes(data, at, end):
        if box[0] == wanted:
            return box
    raise PhotoFileError("image_damaged")


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, content start and end of each box between two offsets."""
    for _ in range(_MAX_SEGMENTS):
        if at + 8 > end:
            return
        head, length = 8, int.from_bytes(data[at : at + 4], "big")
        if length == 1:
            head, length = 16, int.from_bytes(data[at + 8 : at + 16], "big")
        stop = at + length if length else end
        if stop < at + head:
            raise PhotoFileError("image_damaged")
        yield data[at + 4 : at + 8], at + head, min(stop, end)
        at = stop
    raise PhotoFileError("image_too_complex")


_SIZES = {
    "jpeg": _jpeg_size,
    "png": _png_size,
    "webp": _webp_size,
    "heif": _heif_size,
    "avif": _heif_size,
}


def _segment_length(data: bytes, at: int) -> int:
    return 2 + max(2, data[at + 2] << 8 | data[at + 3])


def _check_scans(data: bytes, max_scans: int) -> None:
    """Refuse a JPEG with so many scans that decoding takes too long."""
    # The plain count is quick and never too low, but may be too high: data after the picture, such
    # as the film of a motion photo, contains these two bytes by chance. So it can only accept.
    if data.count(bytes((0xFF, _SOS))) <= max_scans:
        return
    at, scans = 2, 0
    for _ in range(_MAX_SEGMENTS):
        found = _NEXT_SEGMENT.search(data, at)
        if found is None or data[found.start() + 1] == _EOI:
            return
        at, marker = found.start(), data[found.start() + 1]
        scans += marker == _SOS
        if scans > max_scans:
            break
        try:
            at += 2 if marker in _NO_LENGTH else _segment_length(data, at)
        except IndexError:
            return
    raise PhotoFileError("image_too_complex")
