"""A model whose file fixes the size of its pictures takes others, and computes the same."""

from __future__ import annotations

import numpy as np
import pytest

from automatch.vision.models.onnx_dynamic_shape import with_shapes
from automatch.vision.models.onnx_session import open_session
from automatch.vision.models.onnx_writer import OnnxGraph

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
