"""A model that keeps numbers in other files is noticed, wherever it names them."""

from __future__ import annotations

import numpy as np
import pytest

from automatch.vision.models.onnx_external_data import reaches_outside
from automatch.vision.models.onnx_writer import bytes_field, integer_field, text_field
from tests.support.onnx_models import tiny_model
from tests.support.photos import shared_model

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

    assert reaches_outside(message)


def test_a_whole_model_keeps_to_itself() -> None:
    assert not reaches_outside(tiny_model(16))
    assert not reaches_outside(shared_model("face_detection_yunet_2023mar.onnx").read_bytes())


def test_a_tensor_that_says_it_lies_inside_does() -> None:
    tensor = bytes_field(9, b"\0" * 8) + integer_field(14, 0)

    assert not reaches_outside(bytes_field(7, bytes_field(5, tensor)))


def test_what_is_no_model_is_a_value_error_and_nothing_else() -> None:
    whole = tiny_model(4)
    rng = np.random.default_rng(5)
    for _ in range(500):
        data = bytearray(whole[: rng.integers(1, 400)])
        data[rng.integers(len(data))] = rng.integers(256)
        try:
            reaches_outside(bytes(data))
        except ValueError:
            continue
    nested = b""
    for _ in range(60):
        nested = bytes_field(1, bytes_field(5, bytes_field(6, nested)))
    with pytest.raises(ValueError, match="no ONNX model"):
        reaches_outside(bytes_field(7, nested))
