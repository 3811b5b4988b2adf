"""A HEIC put together from one tile that comes again and again, which makes small files costly."""

from __future__ import annotations

import struct
from functools import cache

from tests.support.photos import astronaut, encode

_TILE, _WHOLE = 2, 1


def tiled_heic(tile: int, rows: int, size: tuple[int, int], *, levels: int = 1) -> bytes:
    """Return a HEIC of *size* from *rows* times *rows* squares of *tile* pixels.

    With more *levels* the tiles are such pictures themselves.
    """
    coded = _coded(tile)
    settings, data = _content(coded, b"hvcC"), _content(coded, b"mdat")
    grid = bytes([0, 0, rows - 1, rows - 1]) + struct.pack(">HH", *size)
    wholes, coded_item = range(1, levels + 1), levels + 1
    properties = _box(
        b"ipco",
        _box(b"hvcC", settings)
        + _full_box(b"ispe", struct.pack(">II", tile, tile))
        + _full_box(b"ispe", struct.pack(">II", *size)),
    )
    of_items = [(item, [3]) for item in wholes] + [(coded_item, [0x81, 2])]
    links = b"".join(struct.pack(">HB", item, len(own)) + bytes(own) for item, own in of_items)
    kinds = [(item, b"grid") for item in wholes] + [(coded_item, b"hvc1")]
    tiles = [(item, [item + 1] * rows**2) for item in wholes]
    body = (
        _full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
        + _full_box(b"pitm", struct.pack(">H", 1))
        + _full_box(
            b"iinf",
            struct.pack(">H", len(kinds))
            + b"".join(
                _full_box(b"infe", struct.pack(">HH4sB", item, 0, kind, 0), version=2)
                for item, kind in kinds
            ),
        )
        + _full_box(
            b"iref",
            b"".join(
                _box(b"dimg", struct.pack(f">HH{len(parts)}H", item, len(parts), *parts))
                for item, parts in tiles
            ),
        )
        + _box(
            b"iprp",
            properties + _full_box(b"ipma", struct.pack(">I", len(of_items)) + links),
        )
        + _box(b"idat", grid)
    )

    def head(start: int) -> bytes:
        places = [(item, 1, 0, len(grid)) for item in wholes]
        places.append((coded_item, 0, start, len(data)))
        listed = b"".join(
            struct.pack(">HHHHII", item, where, 0, 1, at, length)
            for item, where, at, length in places
        )
        place = _full_box(b"iloc", b"\x44\0" + struct.pack(">H", len(places)) + listed, version=1)
        return _box(b"ftyp", b"heic\0\0\0\0mif1heic") + _full_box(b"meta", body + place)

    return head(len(head(0)) + 8) + _box(b"mdat", data)


@cache
def _coded(side: int) -> bytes:
    # To encode a large one takes a second.
    return encode(astronaut().resize((side, side)), "HEIF", quality=50)


def _content(file: bytes, name: bytes) -> bytes:
    at = file.index(name)
    return file[at + 4 : at - 4 + int.from_bytes(file[at - 4 : at], "big")]


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def _full_box(name: bytes, body: bytes, version: int = 0) -> bytes:
    return _box(name, bytes([version, 0, 0, 0]) + body)
