"""Tiny face models as ONNX files, of the shapes that real ones have."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from automatch.vision.models.onnx_writer import OnnxGraph

if TYPE_CHECKING:
    from pathlib import Path


def tiny_model(
    dimensions: int,
    *,
    side: int = 112,
    batch: int | str = "n",
    seed: int = 1,
    outputs: int = 0,
    bias: float = 1e-3,
) -> bytes:
    """Return a model that turns pictures into rows: coarse means, mixed by chance.

    Args:
        dimensions: length of a row.
        side: of the pictures.
        batch: how many pictures a run takes; a text for any number.
        seed: another one mixes in another way.
        outputs: what the graph gives out, if not *dimensions*; to be wrong on purpose.
        bias: what a picture of one colour comes to; with 0 every picture comes to nothing.
    """
    graph = OnnxGraph("tiny")
    pictures = graph.input("data", "float32", (batch, 3, side, side))
    cells = 7
    pooled = graph.add(
        "AveragePool",
        pictures,
        kernel_shape=(side // cells, side // cells),
        strides=(side // cells, side // cells),
    )
    flat = graph.add("Flatten", pooled, axis=1)
    inputs = 3 * cells * cells
    # The mean of all cells goes, or every face would lie in one direction.
    centring = np.eye(inputs) - np.full((inputs, inputs), 1 / inputs)
    mixing = np.random.default_rng(seed).standard_normal((inputs, outputs or dimensions))
    mixed = graph.add("MatMul", flat, graph.constant(centring @ mixing * bool(bias)))
    rows = graph.add("Add", mixed, graph.constant(np.full(outputs or dimensions, bias)))
    graph.output(rows, "fc1", "float32", (batch, outputs or dimensions))
    return graph.to_bytes()


def add_model(
    home: Path, name: str, model: bytes, *, dimensions: int, more: str = "", **fields: object
) -> Path:
    """Put a model and its entry into a data folder; where its file lies.

    Args:
        home: the data folder.
        name: of the model.
        model: its file.
        dimensions: of its embeddings.
        more: further lines of the entry.
        fields: `alignment`, `side`, `midpoint`, `width`, and others that replace the usual ones.
    """
    told = {
        "alignment": "dlib",
        "side": 150,
        "midpoint": 0.5,
        "width": 0.05,
        "same_person_u": 0.1,
    } | fields
    folder = home / "models"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    path.write_bytes(model)
    scale = ", ".join(
        f"{field} = {told[field]}" for field in ("midpoint", "width", "same_person_u")
    )
    with (home / "models.toml").open("a", encoding="utf-8") as registry:
        registry.write(f"""
[{name}]
purpose = "embedder"
runs_as = "onnx"
dimensions = {dimensions}
alignment = "{told["alignment"]}"
input = {{ side = {told["side"]}, subtract = 127.5, divide = 127.5 }}
licence = {{ name = "CC0-1.0" }}
scale = {{ {scale} }}
{more}
[[{name}.files]]
name = "{name}.onnx"
sha256 = "{hashlib.sha256(model).hexdigest()}"
bytes = {len(model)}
""")
    return path
