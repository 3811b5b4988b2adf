"""The decoder's child process: encoded photos in, pixels and clean copies out, within limits.

A photo file is the one input that a stranger shapes byte by byte and that C code then reads. So
it is decoded here: in a process that can open no file and no socket, has no environment and a
ceiling on memory and CPU, and that the worker can lose without losing more than one photo.

It speaks frames over its standard streams (`decoder.py` is the other end): in, a length and the
file; out, a length and a line of JSON, then the bytes whose sizes that line names. It is started
with this folder on the path and not as part of the package, whose imports cost 50 MB.
"""

from __future__ import annotations

import ctypes
import io
import json
import math
import os
import resource
import signal
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import (
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,  # noqa: F401  (Pillow reads EXIF with it, and later no file can be opened)
    WebPImagePlugin,
)

if TYPE_CHECKING:
    from automatch.vision import image_file
else:
    import image_file

_LENGTH = struct.Struct("<I")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_KEPT_QUALITY = 90
_THUMBNAIL_QUALITY = 85
_PR_SET_PDEATHSIG = 1

# Naming the plugin skips Pillow's guessing. A phone's multi-picture file (MPO) is a JPEG whose
# first picture is the photo, and is read as that.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}

# Everything that Pillow has been seen to raise about a file it cannot read.
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


def decode(data: bytes, limits: image_file.Limits, kept_side: int) -> Image.Image:
    """Return the photo upright, in RGB, at most *kept_side* long, and with nothing else in it.

    Raises:
        image_file.PhotoFileError: the file cannot be used.
    """
    kind = image_file.check(data, limits)
    try:
        with _PLUGINS[kind](io.BytesIO(data)) as photo:
            # Once more, for a decoder that reads another size out of the file than `check` did.
            image_file.check_size(*photo.size, limits)
            size = _fit(photo.size, kept_side)
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the work.
            photo.draft(None, size)
            photo.load()
            turn = _TURNS.get(_orientation(photo))
            image = _flatten(_shrink(_plain(photo), size))
    except _DAMAGE as exc:
        if "out of memory" in str(exc):
            raise MemoryError from exc
        raise image_file.PhotoFileError("image_damaged") from exc
    if turn is not None:
        image = image.transpose(turn)
    return Image.frombytes("RGB", image.size, image.tobytes())


def _fit(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _orientation(photo: Image.Image) -> int:
    try:
        value = photo.getexif().get(_ORIENTATION, 1)
    except _DAMAGE:
        # A broken side note does not make the picture unusable.
        return 1
    return value if isinstance(value, int) else 1


def _plain(image: Image.Image) -> Image.Image:
    """Return *image* in a mode that can be resized: L, RGB, RGBA or CMYK."""
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16 bits to 8 instead of scaling them.
        return image.point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in {"L", "RGB", "CMYK"} else image.convert("RGB")


def _shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image.convert("RGB")
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image.getchannel("A"))
    return page


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _answer(data: bytes, limits: image_file.Limits, config: dict[str, Any]) -> list[bytes]:
    try:
        kept = decode(data, limits, config["kept_side"])
    except image_file.PhotoFileError as exc:
        return [json.dumps({"code": exc.code, "message": exc.message}).encode()]
    small = kept.resize(
        _fit(kept.size, config["thumbnail_side"]), Image.Resampling.BICUBIC, reducing_gap=2.0
    )
    parts = [kept.tobytes(), _jpeg(kept, _KEPT_QUALITY), _jpeg(small, _THUMBNAIL_QUALITY)]
    head = {"size": kept.size, "lengths": [len(part) for part in parts]}
    return [json.dumps(head).encode(), *parts]


def _warm_up() -> None:
    """Make Pillow import all it imports late, before opening files becomes impossible."""
    for kind, plugin in _PLUGINS.items():
        out = io.BytesIO()
        Image.new("RGBA" if kind == "png" else "RGB", (16, 16)).save(out, kind)
        out.seek(0)
        with plugin(out) as photo:
            photo.load()
            _orientation(photo)
            _flatten(_shrink(_plain(photo), (8, 8))).tobytes()


def _confine(memory_mb: int) -> None:
    memory = memory_mb * 1024**2
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        resource.setrlimit(limit, (0, 0))
    # The three standard streams are open; a fourth file never will be.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def _allow_cpu(seconds: int) -> None:
    """Let this process use *seconds* more of CPU; SIGXCPU ends it when they are gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when *parent* dies, even in the middle of a photo."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    return data if len(data) == length else None


def _write(parts: list[bytes]) -> None:
    sys.stdout.buffer.write(_LENGTH.pack(len(parts[0])))
    for part in parts:
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def main() -> None:
    """Say that all is ready, then answer photos until the other end closes.

    The last argument of the process is its configuration in JSON.
    """
    config = json.loads(sys.argv[-1])
    _die_with(config["parent"])
    limits = image_file.Limits(**config["limits"])
    _warm_up()
    _confine(config["memory_mb"])
    try:
        _write([b"{}"])
        while (data := _read(sys.stdin.buffer)) is not None:
            _allow_cpu(config["cpu_s"])
            _write(_answer(data, limits, config))
    except MemoryError:
        # What is left of the heap is not to be trusted with another photo.
        os._exit(image_file.OUT_OF_MEMORY_EXIT)
