"""Models that we write are models that onnxruntime reads, with the numbers that we meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from automatch.vision.models.onnx_model import open_session
from automatch.vision.models.onnx_writer import OnnxGraph


def _run(graph: OnnxGraph, **inputs: np.ndarray) -> np.ndarray:
    (result,) = open_session(graph.to_bytes()).run(None, inputs)
    return np.asarray(result)


def test_constants_keep_their_numbers_and_shape() -> None:
    numbers = np.arange(300, dtype=np.float32).reshape(3, 100) - 7.5
    graph = OnnxGraph("test")
    graph.output(graph.constant(numbers), "y", "float32", (3, 100))

    assert np.array_equal(_run(graph), numbers)


def test_inputs_may_have_sides_of_any_size() -> None:
    graph = OnnxGraph("test")
    x = graph.input("x", "uint8", ("n", 2))
    graph.output(graph.add("Cast", x, to=1), "y", "float32", ("n", 2))

    for n in (0, 1, 5):
        assert _run(graph, x=np.full((n, 2), 200, np.uint8)).tolist() == [[200.0, 200.0]] * n


def test_attributes_and_negative_numbers_arrive() -> None:
    graph = OnnxGraph("test")
    x = graph.input("x", "float32", (2, 3))
    joined = graph.add("Concat", x, x, axis=-1)
    turned = graph.add("Transpose", joined, perm=(1, 0))
    padded = graph.add("Pad", turned, graph.constant((-1, 0, 0, 2), "int64"))
    graph.output(padded, "y", "float32", (5, 4))
    x_values = np.arange(6, dtype=np.float32).reshape(2, 3)

    expected = np.pad(np.concatenate([x_values, x_values], axis=1).T[1:], ((0, 0), (0, 2)))

    assert np.array_equal(_run(graph, x=x_values), expected)


def test_a_graph_that_makes_no_sense_is_a_value_error() -> None:
    graph = OnnxGraph("test")
    graph.output(graph.add("Relu", "nowhere"), "y", "float32", (1,))

    with pytest.raises(ValueError, match="cannot use the model"):
        open_session(graph.to_bytes())


def test_bytes_that_are_no_model_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="cannot use the model"):
        open_session(b"no model")


_LOAD = """
import numpy as np
from automatch.vision import DlibEmbedder
DlibEmbedder().embed(np.zeros((1, 150, 150, 3), np.uint8))
"""


def test_onnxruntime_keeps_no_device_id_and_calls_nobody(tmp_path: Path) -> None:
    # A variable named CI would silence it for another reason.
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}

    subprocess.run([sys.executable, "-c", _LOAD], env=env, check=True)

    assert list(tmp_path.iterdir()) == []
