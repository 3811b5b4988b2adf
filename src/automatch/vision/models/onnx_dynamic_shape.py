"""Lets an ONNX model take pictures of any size where only its file, not its graph, fixes one.

A model is Protocol Buffers, and its sizes stand in three places: with its inputs, with its outputs
and, as remarks, with what flows between. They are written anew; nothing else is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from automatch.vision.models.onnx_writer import bytes_field, value_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_GRAPH = 7
_INPUT, _OUTPUT, _REMARK = 11, 12, 13
_NAME = 1


def with_shapes(model: bytes, shapes: Mapping[str, Sequence[int | str]]) -> bytes:
    """Return *model* with the named float32 inputs and outputs given other shapes.

    Raises:
        ValueError: the bytes are no model, or one that has another input or output.
    """
    try:
        return b"".join(
            bytes_field(_GRAPH, _graph_with(value, shapes)) if number == _GRAPH else whole
            for number, value, whole in fields(model)
        )
    except (IndexError, KeyError, UnicodeDecodeError) as exc:
        raise ValueError("the model is not the one that is meant") from exc


def _graph_with(graph: bytes, shapes: Mapping[str, Sequence[int | str]]) -> bytes:
    parts = []
    for number, value, whole in fields(graph):
        if number in {_INPUT, _OUTPUT}:
            names = (text for inner, text, _ in fields(value) if inner == _NAME)
            name = next(names, b"").decode()
            parts.append(bytes_field(number, value_info(name, "float32", shapes[name])))
        elif number != _REMARK:
            parts.append(whole)
    return b"".join(parts)


def fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield each field of a message: its number, its content if it is bytes, and all of it.

    Raises:
        IndexError: the bytes are no message.
    """
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        value = b""
        match key & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case 2:
                length, at = _varint(message, at)
                value = message[at : at + length]
                at += length
            case _:
                raise IndexError
        if at > len(message):
            raise IndexError
        yield key >> 3, value, message[start:at]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
