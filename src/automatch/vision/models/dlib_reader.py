"""Reads dlib's file of its face network: the layers in the order of execution.

dlib writes a network from its end to its beginning: each layer writes a version number, then the
layers before it, then its own content. So the file starts with all version numbers, the innermost
layer's last, and the contents follow in the order of execution. Version 1 is a tag, a name for the
tensor at that place, and has no content.

Only the layers of `dlib_face_recognition_resnet_model_v1.dat` are supported. Source of the
format: dlib's `dnn/core.h`, `dnn/layers.h`, `float_details.h` and `serialize.h`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

_TAG, _LAYER, _INNERMOST = 1, 2, 3
_NOT_FINITE = 32000


@dataclass(frozen=True, eq=False)
class Convolution:
    """A cross-correlation, like ONNX `Conv`."""

    filters: npt.NDArray[np.float32]
    """(outputs, inputs, height, width)."""
    biases: npt.NDArray[np.float32]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Affine:
    """A batch normalisation after training: `scale * x + shift` for each channel."""

    scale: npt.NDArray[np.float32]
    shift: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pool:
    """A pooling layer; a *window* of zeros covers the whole picture."""

    kind: Literal["max", "average"]
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Dense:
    """`x @ weights`, without a bias."""

    weights: npt.NDArray[np.float32]
    """(inputs, outputs)."""


@dataclass(frozen=True)
class Plain:
    """A layer without parameters. `add` adds the tensor of a tag."""

    kind: Literal["relu", "add", "tag"]


Layer: TypeAlias = Convolution | Affine | Pool | Dense | Plain


@dataclass(frozen=True, eq=False)
class DlibNetwork:
    """The network of a file."""

    side: int
    """Height and width of its input in pixels."""
    mean: tuple[float, float, float]
    """Subtracted from red, green and blue, before they are divided by 256."""
    layers: tuple[Layer, ...]
    """In the order of execution."""


def read_network(data: bytes) -> DlibNetwork:
    """Return the network in a `.dat` file of a dlib network with metric loss.

    Raises:
        ValueError: the file is cut off, has trailing bytes, or has an unsupported layer.
    """
    try:
        file = _Reader(data)
        network = _network(file)
    except IndexError as exc:
        raise ValueError("the file ends early") from exc
    if file.at != len(data):
        raise ValueError(f"{len(data) - file.at} bytes follow the network")
    return network


class _Reader:
    """Reads dlib's primitive values one after another."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        taken = self._data[self.at : self.at + length]
        if len(taken) != length:
            raise IndexError
        self.at += length
        return taken

    def integer(self) -> int:
        control = self.take(1)[0]
        size = control & 0x0F
        if control & 0x70 or not 1 <= size <= 8:
            raise ValueError(f"no integer starts with {control:#04x}")
        value = int.from_bytes(self.take(size), "little")
        return -value if control & 0x80 else value

    def integers(self, count: int) -> tuple[int, ...]:
        return tuple(self.integer() for _ in range(count))

    def pair(self) -> tuple[int, int]:
        return self.integer(), self.integer()

    def number(self) -> float:
        mantissa, exponent = self.pair()
        if exponent >= _NOT_FINITE:
            raise ValueError("a number is not finite")
        return math.ldexp(mantissa, exponent)

    def numbers(self, count: int) -> tuple[float, ...]:
        return tuple(self.number() for _ in range(count))

    def flag(self) -> bool:
        return self.take(1) == b"1"

    def text(self) -> str:
        return self.take(self.integer()).decode("ascii")

    def tensor(self) -> npt.NDArray[np.float32]:
        self._expect_version(2)
        count = math.prod(self.integers(4))
        return np.frombuffer(self.take(4 * count), "<f4")

    def shape(self) -> tuple[int, ...]:
        """Read an alias: the shape of a slice of the tensor before it."""
        self._expect_version(1)
        return self.integers(4)

    def _expect_version(self, version: int) -> None:
        found = self.integer()
        if found != version:
            raise ValueError(f"a tensor of version {found} instead of {version}")


def _network(file: _Reader) -> DlibNetwork:
    file.integer()
    if (loss := file.text()) != "loss_metric_2":
        raise ValueError(f"the loss is {loss}")
    file.numbers(2)
    versions: list[int] = []
    while not versions or versions[-1] != _INNERMOST:
        versions.append(file.integer())
        if versions[-1] not in {_TAG, _LAYER, _INNERMOST}:
            raise ValueError(f"a layer of version {versions[-1]}")
    if (kind := file.text()) != "input_rgb_image_sized":
        raise ValueError(f"the input is {kind}")
    red, green, blue = file.numbers(3)
    height, width = file.pair()
    if height != width:
        raise ValueError(f"pictures of {width} x {height} pixels")
    layers = tuple(_layer(file, version) for version in reversed(versions))
    return DlibNetwork(side=height, mean=(red, green, blue), layers=layers)


def _layer(file: _Reader, version: int) -> Layer:
    if version == _TAG:
        return Plain("tag")
    kind = file.text()
    if kind not in _LAYERS:
        raise ValueError(f"the layer {kind} is not known")
    layer = _LAYERS[kind](file)
    for _ in ("is set up", "has a stale gradient", "has no output"):
        file.flag()
    # Gradients and the last output, which are empty in a file for inference.
    for _ in range(3):
        file.tensor()
    if version == _INNERMOST:
        file.integer()
    return layer


def _convolution(file: _Reader) -> Convolution:
    numbers = file.tensor()
    file.integers(3)
    stride, padding = file.pair(), file.pair()
    shape = file.shape()
    file.shape()
    file.numbers(4)
    count = math.prod(shape)
    return Convolution(numbers[:count].reshape(shape), numbers[count:], stride, padding)


def _affine(file: _Reader) -> Affine:
    numbers = file.tensor()
    file.shape()
    file.shape()
    file.integer()
    half = len(numbers) // 2
    return Affine(numbers[:half], numbers[half:])


def _dense(file: _Reader) -> Dense:
    file.pair()
    numbers = file.tensor()
    inputs, outputs, *_ = file.shape()
    file.shape()
    has_no_bias = file.integer()
    file.numbers(4)
    if not has_no_bias:
        raise ValueError("the last layer has a bias")
    return Dense(numbers.reshape(inputs, outputs))


_LAYERS: dict[str, Callable[[_Reader], Layer]] = {
    "con_4": _convolution,
    "affine_": _affine,
    "relu_": lambda _: Plain("relu"),
    "add_prev_": lambda _: Plain("add"),
    "max_pool_2": lambda file: Pool("max", file.pair(), file.pair(), file.pair()),
    "avg_pool_2": lambda file: Pool("average", file.pair(), file.pair(), file.pair()),
    "fc_2": _dense,
}
