"""Writes ONNX models without the package `onnx`.

An ONNX model is Protocol Buffers and needs only two of their wire types: varints, and bytes after
their length. Field numbers are those of `onnx.proto3` at IR version 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_IR_VERSION, _OPSET = 8, 13
_INT, _INTS = 2, 7
_ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int64": 7}


class OnnxGraph:
    """A graph under construction, which refers to tensors by their names."""

    def __init__(self, name: str) -> None:
        """Start an empty graph."""
        self._name = name
        self._nodes: list[bytes] = []
        self._constants: list[bytes | memoryview] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declare an input and return its name; a string in *shape* names a free dimension."""
        self._inputs.append(value_info(name, dtype, shape))
        return name

    def constant(self, values: npt.ArrayLike, dtype: str = "float32") -> str:
        """Add a constant tensor and return its name."""
        array = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
        name = f"c{len(self._constants) // 3}"
        numbers = array.data.cast("B") if array.size else b""
        head = (
            b"".join(integer_field(1, side) for side in array.shape)
            + integer_field(2, _ELEMENT_TYPES[dtype])
            + text_field(8, name)
            + _head(9, array.nbytes)
        )
        # The values are copied only once, in `to_bytes`.
        self._constants += (_head(5, len(head) + array.nbytes), head, numbers)
        return name

    def add(self, operator: str, *inputs: str, **attributes: int | Sequence[int]) -> str:
        """Add an operator and return the name of its output."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(_node(operator, inputs, name, attributes))
        return name

    def output(self, tensor: str, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declare *tensor* as the output *name*."""
        self._nodes.append(_node("Identity", (tensor,), name, {}))
        self._outputs.append(value_info(name, dtype, shape))

    def to_bytes(self) -> bytes:
        """Return the content of the model's file."""
        graph = [
            *(bytes_field(1, node) for node in self._nodes),
            text_field(2, self._name),
            *self._constants,
            *(bytes_field(11, value) for value in self._inputs),
            *(bytes_field(12, value) for value in self._outputs),
        ]
        opset = text_field(1, "") + integer_field(2, _OPSET)
        head = (
            integer_field(1, _IR_VERSION) + bytes_field(8, opset) + _head(7, sum(map(len, graph)))
        )
        return b"".join((head, *graph))


def _node(
    operator: str,
    inputs: Sequence[str],
    output: str,
    attributes: dict[str, int | Sequence[int]],
) -> bytes:
    return (
        b"".join(text_field(1, name) for name in inputs)
        + text_field(2, output)
        + text_field(3, output)
        + text_field(4, operator)
        + b"".join(bytes_field(5, _attribute(name, value)) for name, value in attributes.items())
    )


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return text_field(1, name) + integer_field(3, value) + integer_field(20, _INT)
    return (
        text_field(1, name)
        + b"".join(integer_field(8, item) for item in value)
        + integer_field(20, _INTS)
    )


def value_info(name: str, dtype: str, shape: Sequence[int | str]) -> bytes:
    sides = (
        integer_field(1, side) if isinstance(side, int) else text_field(2, side) for side in shape
    )
    tensor = integer_field(1, _ELEMENT_TYPES[dtype]) + bytes_field(
        2, b"".join(bytes_field(1, side) for side in sides)
    )
    return text_field(1, name) + bytes_field(2, bytes_field(1, tensor))


def _varint(value: int) -> bytes:
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer_field(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _head(field: int, length: int) -> bytes:
    """Return the field header before *length* bytes."""
    return _varint(field << 3 | 2) + _varint(length)


def bytes_field(field: int, value: bytes) -> bytes:
    return _head(field, len(value)) + value


def text_field(field: int, value: str) -> bytes:
    return bytes_field(field, value.encode())
