"""dlib's model file is read to its last byte, and no other file is accepted."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from automatch.vision.models.dlib_reader import (
    Affine,
    Convolution,
    Dense,
    Layer,
    Pool,
    read_network,
)
from automatch.vision.models.model_files import FACE_RESNET, read_verified


@pytest.fixture(scope="module")
def data() -> bytes:
    return read_verified(FACE_RESNET)


def _name(layer: Layer) -> str:
    return getattr(layer, "kind", type(layer).__name__)


def test_the_model_file_is_read_to_its_end(data: bytes) -> None:
    network = read_network(data)

    assert network.side == 150
    assert network.mean == pytest.approx((122.782, 117.001, 104.298), abs=1e-4)
    assert Counter(map(_name, network.layers)) == {
        **{"Convolution": 29, "Affine": 29, "relu": 29, "add": 14, "tag": 22},
        **{"max": 1, "average": 5, "Dense": 1},
    }


def test_layers_come_in_the_order_in_which_they_run(data: bytes) -> None:
    first, second, *_, before_last, last = read_network(data).layers

    assert isinstance(first, Convolution)
    assert first.filters.shape == (32, 3, 7, 7)
    assert (first.stride, first.padding) == ((2, 2), (0, 0))
    assert isinstance(second, Affine)
    assert len(second.scale) == len(second.shift) == 32
    assert isinstance(before_last, Pool)
    assert before_last.window == (0, 0)
    assert isinstance(last, Dense)
    assert last.weights.shape == (256, 128)


def test_every_convolution_is_followed_by_its_affine_layer(data: bytes) -> None:
    layers = read_network(data).layers

    for layer, following in pairwise(layers):
        if isinstance(layer, Convolution):
            assert isinstance(following, Affine)
            assert len(following.scale) == len(layer.filters)


@pytest.mark.parametrize("length", [0, 1, 2, 20, 300, 334, 5000, 1_000_000, -1])
def test_a_file_that_ends_early_is_refused(length: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="ends early"):
        read_network(data[:length])


def test_a_file_that_goes_on_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="1 bytes follow"):
        read_network(data + b"\0")


@pytest.mark.parametrize(
    ("was", "becomes", "complaint"),
    [
        (b"loss_metric_2", b"loss_metric_9", "the loss is"),
        (b"input_rgb_image_sized", b"input_rgb_image_sizes", "the input is"),
        (b"con_4", b"con_9", "con_9 is not known"),
        (b"\x01\x01\x01\x0d", b"\x01\x01\x71\x0d", "no integer starts with 0x71"),
    ],
)
def test_another_network_is_refused(
    was: bytes, becomes: bytes, complaint: str, data: bytes
) -> None:
    assert was in data[:1000]

    with pytest.raises(ValueError, match=complaint):
        read_network(data.replace(was, becomes, 1))
