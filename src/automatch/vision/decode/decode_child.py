"""The decoder's child process: encoded photos in, pixels and clean copies out, within limits.

A photo file is the one input that a stranger shapes byte by byte and that C code then reads. So
it is decoded here: in a process that can open no file and no socket, has no environment and a
ceiling on memory and CPU, and that the worker can lose without losing more than one photo.

It speaks frames over its standard streams (`decoder.py` is the other end): in, a length and the
file; out, a length and a line of JSON, then the bytes whose sizes that line names. It is started
with this folder on the path and not as part of the package, whose imports cost 50 MB.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

    from automatch.vision.decode import image_decode, image_header, sandbox
else:
    import image_decode
    import image_header
    import sandbox

_LENGTH = struct.Struct("<I")
_KEPT_QUALITY = 90
_THUMBNAIL_QUALITY = 85


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _answer(data: bytes, limits: image_header.Limits, config: dict[str, Any]) -> list[bytes]:
    try:
        kept = image_decode.decode(data, limits, config["kept_side"])
    except image_header.PhotoFileError as exc:
        return [json.dumps({"code": exc.code, "message": exc.message}).encode()]
    small = image_decode.thumbnail(kept, config["thumbnail_side"])
    parts = [kept.tobytes(), _jpeg(kept, _KEPT_QUALITY), _jpeg(small, _THUMBNAIL_QUALITY)]
    head = {"size": kept.size, "lengths": [len(part) for part in parts]}
    return [json.dumps(head).encode(), *parts]


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
    sandbox.die_with(config["parent"])
    limits = image_header.Limits(**config["limits"])
    image_decode.warm_up()
    sandbox.confine(config["memory_mb"])
    try:
        _write([b"{}"])
        while (data := _read(sys.stdin.buffer)) is not None:
            sandbox.allow_cpu(config["cpu_s"])
            _write(_answer(data, limits, config))
    except MemoryError:
        # What is left of the heap is not to be trusted with another photo.
        os._exit(image_header.OUT_OF_MEMORY_EXIT)
