"""A corpus of files that mean ill or are broken, made in code."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.support.photos import (
    astronaut,
    blank_png,
    encode,
    hopper,
    multi_picture,
    png_chunk,
    with_scans,
)
from tests.support.tiled_heic import tiled_heic


def bad_files() -> Iterator[tuple[str, bytes]]:
    """Yield a name and the bytes of each; some are odd but hold a photo that can be used."""
    yield from _other_types()
    yield from _polyglots()
    yield from _jpegs()
    yield from _pngs()
    yield from _webps()
    yield from _boxed()


def _other_types() -> Iterator[tuple[str, bytes]]:
    for kind in ("GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "JPEG2000"):
        yield f"a {kind}", encode(astronaut().resize((200, 200)), kind)
    yield "zeros", bytes(100_000)
    yield "noise", np.random.default_rng(1).bytes(100_000)
    yield "a film", b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + bytes(1000)


def _polyglots() -> Iterator[tuple[str, bytes]]:
    jpeg, png = encode(astronaut()), encode(astronaut(), "PNG")
    page = b"<html><script>alert(1)</script></html>"
    yield "a JPEG with a ZIP behind it", jpeg + b"PK\x03\x04" + bytes(200) + b"PK\x05\x06"
    yield "a JPEG with a page in its comment", encode(astronaut(), comment=page)
    yield "a JPEG with a PNG behind it", jpeg + png
    yield "a PNG with a JPEG behind it", png + jpeg
    yield "a page with a JPEG behind it", page + jpeg
    yield "a GIF that goes on as a JPEG", b"GIF89a" + jpeg
    yield "a JPEG mark before a PNG", b"\xff\xd8\xff" + png
    yield "a PNG mark before a JPEG", png[:8] + jpeg
    yield "a WebP mark before a JPEG", b"RIFF\0\0\0\0WEBPVP8 " + jpeg


def _jpegs() -> Iterator[tuple[str, bytes]]:
    jpeg = encode(astronaut())
    frame = jpeg.index(b"\xff\xc0")
    yield "a JPEG of 1000 scans", with_scans(astronaut(), 1000)
    yield "a JPEG of 49 scans more", with_scans(astronaut().resize((200, 200)), 39)
    yield "a JPEG of 100,000 segments", jpeg[:2] + b"\xff\xe1\x00\x02" * 100_000 + jpeg[2:]
    yield "a JPEG that says 7000 x 7000", _sized(jpeg, frame, 7000, 7000)
    yield "a JPEG that says 60000 x 60000", _sized(jpeg, frame, 60000, 60000)
    yield "a JPEG of no lines", _sized(jpeg, frame, 512, 0)
    yield "a JPEG with a second, larger frame", _second_frame(jpeg, frame)
    yield "a JPEG without tables", jpeg.replace(b"\xff\xc4", b"\xff\xfe")
    yield "a JPEG that is lossless", jpeg[:frame] + b"\xff\xc3" + jpeg[frame + 2 :]
    yield "a JPEG of arithmetic code", jpeg[:frame] + b"\xff\xc9" + jpeg[frame + 2 :]
    yield "a JPEG of 12 bits", jpeg[: frame + 4] + b"\x0c" + jpeg[frame + 5 :]
    yield "a JPEG of nothing but marks", b"\xff\xd8\xff" + b"\xd8\xff" * 50_000
    pictures = multi_picture(astronaut(), hopper())
    yield (
        "a multi-picture with a broken index",
        pictures.replace(b"MPF\0", b"MPF\0\xff\xff\xff\xff"),
    )
    yield "a multi-picture cut in its second picture", pictures[:-2000]
    for name, exif in _exifs():
        yield f"a JPEG with EXIF that {name}", encode(astronaut(), exif=exif)


def _sized(jpeg: bytes, frame: int, width: int, height: int) -> bytes:
    return jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]


def _second_frame(jpeg: bytes, frame: int) -> bytes:
    length = 2 + int.from_bytes(jpeg[frame + 2 : frame + 4], "big")
    larger = _sized(jpeg, frame, 20_000, 20_000)[frame : frame + length]
    return jpeg[: frame + length] + larger + jpeg[frame + length :]


def _exifs() -> Iterator[tuple[str, bytes]]:
    head = b"Exif\0\0MM\0*\0\0\0\x08"
    yield "leads back to itself", head + b"\0\1\x87\x69\0\4\0\0\0\1\0\0\0\x08\0\0\0\x08"
    yield "counts four billion values", head + b"\0\1\1\x12\0\3\xff\xff\xff\xff\0\0\0\0\0\0\0\0"
    yield "has 60,000 entries", head + b"\xea\x60" + b"\1\x12\0\3\0\0\0\1\0\6\0\0" * 5000
    yield "turns by 0, 9 and words", head + b"\0\2" + b"\1\x12\0\2\0\0\0\4abc\0" + b"\0" * 16
    yield "is zeros", b"Exif\0\0" + bytes(60_000)


def _pngs() -> Iterator[tuple[str, bytes]]:
    png = encode(astronaut(), "PNG")
    start, rest = png[:33], png[33:]
    packed = zlib.compress(bytes(100_000_000), 1)
    text = b"Comment\0" + b"x" * 8_000_000
    yield "a PNG of 13000 x 13000", blank_png(13_000, 13_000)
    yield "a PNG of 7000 x 7000", blank_png(7000, 7000)
    yield "a PNG with a bomb for a comment", start + png_chunk(b"zTXt", b"c\0\0" + packed) + rest
    yield "a PNG with a bomb for a profile", start + png_chunk(b"iCCP", b"c\0\0" + packed) + rest
    yield "a PNG with 8 MB of text", start + png_chunk(b"tEXt", text) + rest
    yield "a PNG with 40,000 comments", start + png_chunk(b"tEXt", b"a\0b") * 40_000 + rest
    yield "a PNG with an odd chunk", start + png_chunk(b"abCd", bytes(9)) + rest
    yield "a PNG with a wrong checksum", png[:40] + bytes([png[40] ^ 1]) + png[41:]
    yield "a PNG with two headers", start + start[8:] + rest
    yield "a PNG without data", start + png_chunk(b"IEND", b"")
    yield "a PNG with data of zeros", start + png_chunk(b"IDAT", bytes(5000)) + rest[-12:]
    yield "a PNG whose chunk never ends", start + b"\x7f\xff\xff\xffIDAT" + bytes(5000)
    yield "a PNG of an unknown depth", png[:24] + b"\x05" + png[25:]
    yield "a palette PNG without a palette", _header_of(png, bits=8, kind=3) + rest
    yield "a PNG with transparency of no kind", start + png_chunk(b"tRNS", bytes(7)) + rest
    yield "a film of 1000 frames", _film("PNG", 1000)


def _header_of(png: bytes, bits: int, kind: int) -> bytes:
    return png[:8] + png_chunk(b"IHDR", png[16:24] + bytes([bits, kind, 0, 0, 0]))


def _webps() -> Iterator[tuple[str, bytes]]:
    webp = encode(astronaut(), "WEBP")
    large = b"VP8X\x0a\0\0\0\0\0\0\0" + 2 * (6999).to_bytes(3, "little")
    yield "a WebP with a canvas larger than its picture", webp[:12] + large + webp[12:]
    yield "a WebP that says it is empty", webp[:4] + bytes(4) + webp[8:]
    yield "a WebP that says it is huge", webp[:4] + b"\xff\xff\xff\x7f" + webp[8:]
    yield "a WebP of nothing but a canvas", webp[:12] + large
    yield "a film of 1000 frames in WebP", _film("WEBP", 1000)


def _film(kind: str, frames: int) -> bytes:
    rest = [Image.new("RGB", (160, 160), (shade % 256, 0, 0)) for shade in range(frames)]
    return encode(astronaut().resize((160, 160)), kind, save_all=True, append_images=rest)


def _boxed() -> Iterator[tuple[str, bytes]]:
    """Yield HEIC and AVIF."""
    for kind in ("HEIF", "AVIF"):
        photo = encode(astronaut(), kind)
        size = photo.index(b"ispe") + 8
        said = struct.pack(">II", 512, 512)
        assert photo[size : size + 8] == said
        for width, height in ((200, 200), (7000, 7000), (60_000, 60_000), (0, 512)):
            lie = struct.pack(">II", width, height)
            yield f"{kind} that says {width} x {height}", photo.replace(said, lie)
        yield f"{kind} without its data", photo[: photo.index(b"mdat") + 4]
        yield f"{kind} whose data lie elsewhere", photo.replace(b"mdat", b"free")
        yield f"{kind} without a first picture", photo.replace(b"pitm", b"free")
        yield f"{kind} without places", photo.replace(b"iloc", b"free")
        yield f"{kind} of another brand", photo.replace(b"ftyp" + photo[8:12], b"ftypmif1")
        yield f"{kind} with a box that never ends", photo[:32] + b"\x7f\xff\xff\xff" + photo[36:]
        yield f"{kind} of empty boxes", photo[:32] + b"\0\0\0\x08free" * 100_000 + photo[32:]
    heif, avif = encode(astronaut(), "HEIF"), encode(astronaut(), "AVIF")
    yield "HEIC that says it is AVIF", heif.replace(b"heic", b"avif")
    yield "AVIF that says it is HEIC", avif.replace(b"avif", b"heic").replace(b"av01", b"hvc1")
    yield "HEIC of 2500 tiles that say 4", _many_tiles()
    yield "HEIC of 400 large tiles that shows a small picture", tiled_heic(2048, 20, (500, 500))


def _many_tiles() -> bytes:
    tiles = encode(astronaut(), "HEIF", tile_size=256)
    grid = b"\0\0\1\1" + struct.pack(">HH", 512, 512)
    return tiles.replace(grid, b"\0\0\x31\x31" + struct.pack(">HH", 512, 512))
