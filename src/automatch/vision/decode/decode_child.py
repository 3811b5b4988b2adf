"""The decoder's child process: encoded photos in, pixels out, within limits.

A photo file is the one input in which a stranger controls every byte that C code parses. So it is
decoded in a process that can open no file and no socket, has no environment and limited memory and
CPU, and whose loss costs the worker one photo.

It talks to `decoder.py` in frames over its standard streams. A request is a length and the file; an
answer is a length and a line of JSON, then the pixels whose size that line names. It is started
with this folder on the path and not as part of the package, whose imports cost 50 MB.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from automatch.vision.decode import freed_memory, image_decode, image_header, sandbox
else:
    import freed_memory
    import image_decode
    import image_header
    import sandbox

_LENGTH = struct.Struct("<I")


def _answer(data: bytes, limits: image_header.Limits, config: dict[str, Any]) -> list[bytes]:
    try:
        size, pixels = image_decode.decode(data, limits, config["kept_side"])
    except image_header.PhotoFileError as exc:
        return [json.dumps({"code": exc.code, "message": exc.message}).encode()]
    return [json.dumps({"size": size}).encode(), pixels]


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
    """Report readiness, then decode photos until the parent closes the stream.

    The last argument of the process is its configuration as JSON.
    """
    config = json.loads(sys.argv[-1])
    sandbox.die_with_parent(config["parent"])
    freed_memory.keep_freed_memory()
    limits = image_header.Limits(**config["limits"])
    image_decode.warm_up()
    sandbox.enter(config["memory_mb"])
    try:
        _write([b"{}"])
        while (data := _read(sys.stdin.buffer)) is not None:
            sandbox.allow_cpu(config["cpu_s"])
            _write(_answer(data, limits, config))
    except MemoryError:
        # After running out of memory, this process decodes no further photo.
        os._exit(image_header.OUT_OF_MEMORY_EXIT)
