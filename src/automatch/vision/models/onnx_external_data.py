"""Finds out whether an ONNX model reaches for files beside its own.

A tensor may say that its numbers lie in another file, by a name that the model chooses. Nothing has
checked that file, and the name may lead anywhere on this machine: such a model is not opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from automatch.vision.models.onnx_dynamic_shape import fields

if TYPE_CHECKING:
    from collections.abc import Mapping

# Field numbers of onnx.proto3: which fields of a message hold messages that lead to tensors.
_LEADS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_MOST_NESTED = 20


def reaches_outside(model: bytes) -> bool:
    """Tell whether a tensor of *model* lies in another file.

    Raises:
        ValueError: the bytes are no model.
    """
    try:
        return _reaches(model, "model", _MOST_NESTED)
    except IndexError as exc:
        raise ValueError("the file is no ONNX model") from exc


def _reaches(message: bytes, kind: str, levels: int) -> bool:
    if not levels:
        raise IndexError
    if kind == "tensor":
        # A location of 0 says "in here", which some exporters write down.
        return any(
            number == _EXTERNAL_DATA or (number == _DATA_LOCATION and whole[-1])
            for number, _, whole in fields(message)
        )
    leads = _LEADS[kind]
    return any(
        _reaches(value, leads[number], levels - 1)
        for number, value, _ in fields(message)
        if number in leads
    )
