"""Converts dlib's face network to an ONNX model from chips to raw embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from automatch.vision.models.dlib_reader import Affine, Convolution, Dense, Layer, Plain, Pool
from automatch.vision.models.onnx_writer import OnnxGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automatch.vision.models.dlib_reader import DlibNetwork

_CHANNELS = 3


@dataclass(frozen=True)
class _Tensor:
    """A tensor between two layers."""

    name: str
    shape: tuple[int, int, int]
    """(channels, height, width)."""


def onnx_model(network: DlibNetwork) -> bytes:
    """Return *network* as an ONNX model.

    Its input `chips` is (n, side, side, 3) in uint8 RGB; its output `embeddings` is (n, dimensions)
    in float32, not normalised.

    Raises:
        ValueError: the layers are in an order that is not supported.
    """
    side = network.side
    graph = OnnxGraph("dlib_face_resnet")
    chips = graph.input("chips", "uint8", ("n", side, side, _CHANNELS))
    x = graph.add("Cast", chips, to=1)
    x = graph.add("Transpose", x, perm=(0, 3, 1, 2))
    x = graph.add("Sub", x, graph.constant(np.reshape(network.mean, (1, _CHANNELS, 1, 1))))
    x = graph.add("Mul", x, graph.constant(1 / 256))
    end = _add_layers(graph, _Tensor(x, (_CHANNELS, side, side)), _fold(network.layers))
    graph.output(end.name, "embeddings", "float32", ("n", end.shape[0]))
    return graph.to_bytes()


def _fold(layers: Sequence[Layer]) -> list[Layer]:
    """Fold each affine layer into the convolution before it, so that it costs nothing."""
    folded: list[Layer] = []
    for layer in layers:
        before = folded[-1] if folded else None
        if not isinstance(layer, Affine) or not isinstance(before, Convolution):
            folded.append(layer)
            continue
        # In float32 the sum would round twice; a product rounds once in either type.
        biases = before.biases * layer.scale.astype(np.float64) + layer.shift
        folded[-1] = replace(
            before,
            filters=before.filters * layer.scale[:, None, None, None],
            biases=biases.astype(np.float32),
        )
    return folded


def _add_layers(graph: OnnxGraph, start: _Tensor, layers: Sequence[Layer]) -> _Tensor:
    """Add *layers* and return the output of the last.

    The input of a residual block is tagged, and added to its output. A block that halves the
    picture also tags its main path, goes back to the input and pools it, so it has two tags in a
    row. The file does not say which tag an addition means; this order does.
    """
    x = start
    block_input: _Tensor | None = None
    main_path: _Tensor | None = None
    for place, layer in enumerate(layers):
        match layer:
            case Plain("tag") if place and layers[place - 1] == layer:
                if block_input is None:
                    raise ValueError("a network turns back to nothing")
                x = block_input
            case Plain("tag"):
                if place + 1 < len(layers) and layers[place + 1] == layer:
                    main_path = x
                else:
                    block_input = x
            case Plain("add"):
                other, main_path = main_path or block_input, None
                if other is None:
                    raise ValueError("a layer adds nothing")
                x = _add(graph, x, other)
            case _:
                x = _apply(graph, x, layer)
    return x


def _apply(graph: OnnxGraph, x: _Tensor, layer: Layer) -> _Tensor:
    match layer:
        case Plain("relu"):
            return replace(x, name=graph.add("Relu", x.name))
        case Convolution():
            return _convolve(graph, x, layer)
        case Pool():
            return _pool(graph, x, layer)
        case Dense():
            flat = graph.add("Flatten", x.name, axis=1)
            rows = graph.add("MatMul", flat, graph.constant(layer.weights))
            return _Tensor(rows, (layer.weights.shape[1], 1, 1))
    raise ValueError("an affine layer does not follow a convolution")


def _convolve(graph: OnnxGraph, x: _Tensor, layer: Convolution) -> _Tensor:
    name = graph.add(
        "Conv",
        x.name,
        graph.constant(layer.filters),
        graph.constant(layer.biases),
        strides=layer.stride,
        pads=layer.padding * 2,
    )
    outputs, _, *window = layer.filters.shape
    return _Tensor(name, (outputs, *_output_size(x, window, layer.stride, layer.padding)))


def _pool(graph: OnnxGraph, x: _Tensor, layer: Pool) -> _Tensor:
    if layer.window == (0, 0):
        return _Tensor(graph.add("GlobalAveragePool", x.name), (x.shape[0], 1, 1))
    name = graph.add(
        "MaxPool" if layer.kind == "max" else "AveragePool",
        x.name,
        kernel_shape=layer.window,
        strides=layer.stride,
        pads=layer.padding * 2,
    )
    return _Tensor(name, (x.shape[0], *_output_size(x, layer.window, layer.stride, layer.padding)))


def _output_size(
    x: _Tensor, window: Sequence[int], stride: tuple[int, int], padding: tuple[int, int]
) -> tuple[int, int]:
    """Return height and width of the output of a window over *x*."""
    height, width = (
        (side + 2 * pad - length) // step + 1
        for side, pad, length, step in zip(x.shape[1:], padding, window, stride, strict=True)
    )
    return height, width


def _add(graph: OnnxGraph, a: _Tensor, b: _Tensor) -> _Tensor:
    """Add two tensors as dlib does, with zeros where the smaller one ends."""
    channels, height, width = (max(pair) for pair in zip(a.shape, b.shape, strict=True))
    shape = (channels, height, width)
    return _Tensor(graph.add("Add", _pad(graph, a, shape), _pad(graph, b, shape)), shape)


def _pad(graph: OnnxGraph, x: _Tensor, shape: Sequence[int]) -> str:
    missing = [wanted - has for wanted, has in zip(shape, x.shape, strict=True)]
    if not any(missing):
        return x.name
    pads = graph.constant((0, 0, 0, 0, 0, *missing), "int64")
    return graph.add("Pad", x.name, pads)
