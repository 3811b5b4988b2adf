"""Photos as people send them, after public bug reports; the tests say what is right for each."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

from tests.support.photos import astronaut, encode, hopper, png_chunk


def rotated_files(photo: Image.Image) -> list[bytes]:
    """Return a photo as four JPEGs without EXIF, each a quarter turn further."""
    return [encode(photo.rotate(turn, expand=True), quality=92) for turn in (0, 90, 180, 270)]


def friend_behind(share: float) -> bytes:
    """Return two people; *share* scales the second one, who stands further back."""
    page = Image.new("RGB", (1400, 1024), "grey")
    page.paste(astronaut().resize((1024, 1024)))
    friend = hopper().resize((round(512 * share), round(600 * share)))
    page.paste(friend, (1030, page.height - friend.height))
    return encode(page, quality=92)


def friend_at_the_cheek() -> bytes:
    """Return two people of whom the second one's face begins where the first one's ends."""
    page = astronaut().resize((1024, 1024))
    page.paste(hopper().crop((123, 78, 426, 381)).resize((134, 134)), (533, 333))
    return encode(page, quality=92)


def png_with_notes() -> dict[str, bytes]:
    """Return PNGs of the astronaut whose ancillary chunks are large or broken."""
    png = encode(astronaut(), "PNG")
    start, middle, end = png[:33], png[33:-12], png[-12:]
    packed = zlib.compress(b"<rdf:li>xmp.did:0123</rdf:li>" * 50_000)
    xmp = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed)
    profile = png_chunk(b"iCCP", b"Display\0\0" + zlib.compress(bytes(1_100_000)))
    return {
        "profile-over-1-mib": start + profile + middle + end,
        "broken-profile": start + png_chunk(b"iCCP", b"Display\0\0nothing") + middle + end,
        "xmp-before": start + xmp + middle + end,
        "xmp-behind": start + middle + xmp + end,
        "compressed-text": start + png_chunk(b"zTXt", b"c\0\0" + packed) + middle + end,
        "wrong-crc-in-text": start + _wrong_crc(b"tEXt", b"Comment\0hi") + middle + end,
        "wrong-crc-in-time": start + _wrong_crc(b"tIME", bytes(7)) + middle + end,
        "wrong-crc-in-exif": start + _wrong_crc(b"eXIf", b"MM\0*\0\0\0\x08") + middle + end,
        "wrong-crc-in-gamma": start + _wrong_crc(b"gAMA", b"\0\0\xb1\x8f") + middle + end,
        "end-missing": start + middle,
        "bytes-behind": png + bytes(1000),
    }


def _wrong_crc(name: bytes, content: bytes) -> bytes:
    chunk = bytearray(png_chunk(name, content))
    chunk[-1] ^= 1
    return bytes(chunk)


def png_of_rows(pixels: np.ndarray, height: int, *, interlaced: bool = False) -> bytes:
    """Return a PNG that claims *height* rows and whose data end as they should after fewer.

    Args:
        pixels: (rows, width, 3) of 8 bits.
        height: the rows that its header names.
        interlaced: whether the rows come in seven passes.
    """
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
        passes += [(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [
        b"\0" + row.tobytes() for x, y, to_x, to_y in passes for row in pixels[y::to_y, x::to_x]
    ]
    header = struct.pack(">IIBBBBB", pixels.shape[1], height, 8, 2, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(name, data)
        for name, data in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(b"".join(rows))),
            (b"IEND", b""),
        )
    )


def with_early_end(jpeg: bytes, share: float) -> bytes:
    """Return a JPEG with an end mark after a *share* of its bytes, and the rest behind it."""
    at = round(len(jpeg) * share)
    return jpeg[:at] + b"\xff\xd9" + jpeg[at + 2 :]


def turned_in_xmp_alone() -> bytes:
    """Return an upright JPEG whose XMP says that it has to be rotated."""
    note = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    return encode(astronaut(), quality=92, xmp=note)


def jpeg_that_claims(width: int, height: int) -> bytes:
    """Return a JPEG whose header claims another size than it has."""
    jpeg = encode(Image.new("RGB", (200, 200)), quality=80)
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def dimmed(photo: Image.Image, share: float) -> Image.Image:
    """Return a photo in a *share* of its light, with the noise of a camera's sensor."""
    noise = np.random.default_rng(1).normal(0, 3, (photo.height, photo.width, 3))
    lit = np.asarray(photo, np.float32) * share + noise
    return Image.fromarray(lit.round().clip(0, 255).astype(np.uint8))
