"""Photos for tests: real ones that come with packages, and bad ones made here."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import pillow_heif
import pytest
import skimage.data
from PIL import Image

pillow_heif.register_heif_opener()

_SHARED = Path(__file__).parents[2].parent / "shared"
_QUICKLY: dict[str, dict[str, Any]] = {
    "HEIF": {"enc_params": {"preset": "ultrafast"}},
    "AVIF": {"speed": 10},
    "WEBP": {"method": 0},
    "PNG": {"compress_level": 1},
}
"""How to write the same pixels in a fifth of the time: nobody cares how long the file gets."""


@cache
def astronaut() -> Image.Image:
    """Return a real portrait of a woman, 512 x 512."""
    return Image.fromarray(skimage.data.astronaut())


@cache
def hopper() -> Image.Image:
    """Return a real portrait of another woman, 512 x 600."""
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(path) as image:
        return image.convert("RGB")


def portrait(number: int, *, blue: bool = False) -> bytes:
    """Return the astronaut as a file that is no other number's, with a healthy or a blue face."""
    tint = (0.6, 0.9, 1.3) if blue else (1.0, 1.0, 1.0)
    shade = np.array(tint) * (1 - number % 50 / 500)
    pixels = np.clip(np.asarray(astronaut()) * shade, 0, 255).astype(np.uint8)
    # One pixel of a corner tells more numbers apart than shades do.
    pixels[:8, :8] = (number % 256, number // 256 % 256, 0)
    return encode(Image.fromarray(pixels), quality=95)


def shared_photo(name: str) -> bytes:
    """Return a real photo that is no part of this repository, or skip the test."""
    path = _SHARED / "faces" / name
    if not path.is_file():
        pytest.skip(f"{name} is not in ../shared/faces")
    return path.read_bytes()


def shared_portrait(name: str) -> bytes:
    """Return a real portrait that is no part of this repository, or skip the test."""
    path = _SHARED / "portraits" / f"{name}.jpg"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in ../shared/portraits")
    return path.read_bytes()


def shared_portraits(count: int) -> list[bytes]:
    """Return real portraits of *count* different people, or skip the test."""
    paths = sorted((_SHARED / "portraits").glob("*.jpg"))
    if len(paths) < count:
        pytest.skip(f"there are no {count} photos in ../shared/portraits")
    # Spread over the folder, which is sorted by name.
    return [path.read_bytes() for path in paths[:: len(paths) // count][:count]]


def shared_strangers() -> list[tuple[bytes, str]]:
    """Return real portraits of strangers, each with its declared gender, or skip the test."""
    table = _SHARED / "portraits" / "portraits.csv"
    if not table.is_file():
        pytest.skip("portraits.csv is not in ../shared/portraits")
    with table.open(newline="") as file:
        return [
            ((table.parent / row["file"]).read_bytes(), row["gender"])
            for row in csv.DictReader(file)
        ]


def shared_model(name: str) -> Path:
    """Return a model file that is no part of this repository, or skip the test."""
    path = _SHARED / "models" / name
    if not path.is_file():
        pytest.skip(f"{name} is not in ../shared/models")
    return path


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Return *image* as the bytes of a file."""
    if image is astronaut() and not options:
        return _encoded_astronaut(kind)
    return _saved(image, kind, **options)


@cache
def _encoded_astronaut(kind: str) -> bytes:
    """Return what most tests send."""
    return _saved(astronaut(), kind)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **_QUICKLY.get(kind, {}) | options)
    return out.getvalue()


def pixels(encoded: bytes) -> np.ndarray:
    """Return the pixels of a file as (height, width, 3) numbers that may be subtracted."""
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def scene_without_face(width: int = 300) -> Image.Image:
    """Return a real photo of a cup of coffee, which is looked through in all directions."""
    return Image.fromarray(skimage.data.coffee()).resize((width, width * 2 // 3))


def two_people() -> Image.Image:
    """Return two real people side by side."""
    page = Image.new("RGB", (812, 512), "white")
    page.paste(astronaut(), (0, 0))
    page.paste(hopper().resize((300, 352)), (512, 0))
    return page


def blank_png(width: int, height: int) -> bytes:
    """Return a black 1-bit PNG: 20 KB for 13000 x 13000 pixels."""
    row = bytes(1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(name, data) for name, data in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_scans(image: Image.Image, extra: int) -> bytes:
    """Return a progressive JPEG whose last scan comes *extra* times more."""
    jpeg = encode(image, progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * extra + jpeg[-2:]


@cache
def endless() -> bytes:
    """Return a JPEG of 1 MB that takes half a minute of CPU to decode, if its scans are allowed."""
    return with_scans(Image.new("RGB", (5000, 5000), "grey"), 3000)


def multi_picture(image: Image.Image, *others: Image.Image) -> bytes:
    """Return the kind of JPEG that many phones make: the photo and more pictures behind it."""
    return encode(image, "MPO", save_all=True, append_images=list(others))
