"""ONNX models as bytes: sizes are freed, and external data is found wherever a model names it."""

from __future__ import annotations

import numpy as np
import pytest

from automatch.vision.models.onnx_model import has_external_data, open_session, with_shapes
from automatch.vision.models.onnx_writer import OnnxGraph, bytes_field, integer_field, text_field
from tests.support.onnx_models import tiny_model
from tests.support.photos import shared_model

_FREE = {"x": (1, "n"), "y": (1, "n")}


def _fixed() -> bytes:
    graph = OnnxGraph("test")
    x = graph.input("x", "float32", (1, 4))
    graph.output(graph.add("Add", x, graph.constant([2.0])), "y", "float32", (1, 4))
    return graph.to_bytes()


def test_a_fixed_side_is_freed() -> None:
    session = open_session(with_shapes(_fixed(), _FREE))

    for n in (1, 4, 9):
        (y,) = session.run(None, {"x": np.ones((1, n), np.float32)})
        assert np.asarray(y).tolist() == [[3.0] * n]


@pytest.mark.parametrize("shapes", [{}, {"x": (1, "n")}, {"input": (1, "n"), "y": (1, "n")}])
def test_another_model_is_a_value_error(shapes: dict[str, tuple[int | str, ...]]) -> None:
    with pytest.raises(ValueError, match="not the one that is meant"):
        with_shapes(_fixed(), shapes)


def test_no_damage_gives_another_exception() -> None:
    whole = _fixed()
    rng = np.random.default_rng(3)
    for _ in range(500):
        data = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        data[rng.integers(len(data))] = rng.integers(256)
        try:
            with_shapes(bytes(data), _FREE)
        except ValueError:
            continue


_LOCATION = text_field(1, "location") + text_field(2, "../../etc/passwd")
_BESIDE = bytes_field(13, _LOCATION) + integer_field(14, 1)


@pytest.mark.parametrize("tensor", [_BESIDE, bytes_field(13, _LOCATION), integer_field(14, 1)])
@pytest.mark.parametrize(
    "path",
    [
        (7, 5),
        (7, 15, 1),
        (7, 15, 2),
        (7, 1, 5, 5),
        (7, 1, 5, 10),
        (7, 1, 5, 22, 1),
        (7, 1, 5, 6, 5),
        (7, 1, 5, 11, 1, 5, 6, 5),
        (20, 1, 5),
        (20, 2, 1, 5, 5),
        (25, 7, 5, 5),
        (25, 11, 5),
    ],
)
def test_numbers_outside_are_found(path: tuple[int, ...], tensor: bytes) -> None:
    message = text_field(8, "name") + tensor
    for number in reversed(path):
        message = integer_field(1, 1) + bytes_field(number, message)

    assert has_external_data(message)


def test_a_whole_model_keeps_to_itself() -> None:
    assert not has_external_data(tiny_model(16))
    assert not has_external_data(shared_model("face_detection_yunet_2023mar.onnx").read_bytes())


def test_a_tensor_that_says_it_lies_inside_does() -> None:
    tensor = bytes_field(9, b"\0" * 8) + integer_field(14, 0)

    assert not has_external_data(bytes_field(7, bytes_field(5, tensor)))


def test_what_is_no_model_is_a_value_error_and_nothing_else() -> None:
    whole = tiny_model(4)
    rng = np.random.default_rng(5)
    for _ in range(500):
        data = bytearray(whole[: rng.integers(1, 400)])
        data[rng.integers(len(data))] = rng.integers(256)
        try:
            has_external_data(bytes(data))
        except ValueError:
            continue
    nested = b""
    for _ in range(60):
        nested = bytes_field(1, bytes_field(5, bytes_field(6, nested)))
    with pytest.raises(ValueError, match="no ONNX model"):
        has_external_data(bytes_field(7, nested))
