"""Opens ONNX models, and reads and changes their bytes without the package `onnx`.

A model is Protocol Buffers. The sizes of what it takes and gives stand in three places: with its
inputs, with its outputs, and as notes on the tensors between them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from automatch.vision.models.onnx_writer import bytes_field, value_info

# From 1.29 on onnxruntime keeps a device id in the user's cache and sends its maker which models
# run on which machine. It reads this variable once, while it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import onnxruntime

_GRAPH = 7
_INPUT, _OUTPUT, _VALUE_INFO = 11, 12, 13
_NAME = 1

# Field numbers of onnx.proto3: which fields of a message hold messages that lead to tensors.
_CHILDREN: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_MAX_DEPTH = 20


def open_session(model: bytes | Path) -> onnxruntime.InferenceSession:
    """Return a model, or the model of a file, ready to run; several threads may call `run` at once.

    Raises:
        ValueError: the model cannot be used.
    """
    # Where no model runs, as in the commands that only read, it is not imported.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # A second thread of a run waits by spinning. Where the other core works on another photo, that
    # makes a run slower than with one thread; so photos run in parallel, and a run uses one thread.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Errors arrive as exceptions; all other messages would go to stderr instead of our log.
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as exc:
        raise ValueError("onnxruntime cannot use the model") from exc


def with_shapes(model: bytes, shapes: Mapping[str, Sequence[int | str]]) -> bytes:
    """Return *model* with the named float32 inputs and outputs given other shapes.

    This lets a model take pictures of any size where its file, but not its graph, fixes one.

    Raises:
        ValueError: the bytes are no model, or one that has another input or output.
    """
    try:
        return b"".join(
            bytes_field(_GRAPH, _graph_with(value, shapes)) if number == _GRAPH else whole
            for number, value, whole in _fields(model)
        )
    except (IndexError, KeyError, UnicodeDecodeError) as exc:
        raise ValueError("the model is not the one that is meant") from exc


def has_external_data(model: bytes) -> bool:
    """Tell whether a tensor of *model* is stored in another file.

    The model chooses that file's name, which may lead anywhere on this machine, and nothing has
    checked its content: such a model must not be opened.

    Raises:
        ValueError: the bytes are no model.
    """
    try:
        return _is_external(model, "model", _MAX_DEPTH)
    except IndexError as exc:
        raise ValueError("the file is no ONNX model") from exc


def _graph_with(graph: bytes, shapes: Mapping[str, Sequence[int | str]]) -> bytes:
    parts = []
    for number, value, whole in _fields(graph):
        if number in {_INPUT, _OUTPUT}:
            names = (text for inner, text, _ in _fields(value) if inner == _NAME)
            name = next(names, b"").decode()
            parts.append(bytes_field(number, value_info(name, "float32", shapes[name])))
        elif number != _VALUE_INFO:
            parts.append(whole)
    return b"".join(parts)


def _is_external(message: bytes, kind: str, levels: int) -> bool:
    if not levels:
        raise IndexError
    if kind == "tensor":
        # A location of 0 means this file, and some exporters write it.
        return any(
            number == _EXTERNAL_DATA or (number == _DATA_LOCATION and whole[-1])
            for number, _, whole in _fields(message)
        )
    children = _CHILDREN[kind]
    return any(
        _is_external(value, children[number], levels - 1)
        for number, value, _ in _fields(message)
        if number in children
    )


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
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
