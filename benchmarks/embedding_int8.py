"""What whole numbers of 8 bits make of dlib's network: how fast it is and how far embeddings move.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.embedding_int8 PORTRAITS [--rounds 40]

The package `onnx`, which onnxruntime's own quantizer needs, is no dependency, so the graph is
written here: static, unsigned activations by their ranges on 40 portraits, signed weights by
channel, of 8 bits and of 7, whose sums cannot overflow where a processor has no VNNI. They run in
turns with float32, in CPU time. It lasts a minute.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from automatch.settings.vision import VisionSettings
from automatch.vision.embed.embedder import to_unit_rows
from automatch.vision.load import open_detector
from automatch.vision.models import dlib_to_onnx, onnx_writer
from automatch.vision.models.dlib_reader import read_network
from automatch.vision.models.model_files import FACE_RESNET, read_verified
from automatch.vision.models.onnx_model import open_session
from automatch.vision.models.onnx_writer import OnnxGraph

onnx_writer._ELEMENT_TYPES |= {"int8": 3, "int32": 6}

_CALIBRATED = 40
_KEEP_SCALE = ("MaxPool", "Pad")


class Watched(OnnxGraph):
    """Gives the result of every operator too."""

    operators: list[str]

    def __init__(self, name: str) -> None:
        super().__init__(name)
        Watched.operators = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = super().add(operator, *inputs, **attributes)
        at = len(Watched.operators)
        Watched.operators.append(operator)
        self.output(name, f"watched{at}", "float32", tuple("nchw"))
        return name


class Quantized(OnnxGraph):
    """Rounds what its convolutions, sums take and give."""

    ranges: list[tuple[float, float]]
    most = 127
    """Of a weight."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._at = -1
        self._places: dict[str, int] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._scales: dict[str, tuple[float, str, str]] = {}

    def constant(self, values: Any, dtype: str = "float32") -> str:
        name = super().constant(values, dtype)
        self._arrays[name] = np.asarray(values)
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        self._at += 1
        if operator == "Conv":
            inputs = self._conv_inputs(*inputs)
        name = super().add(operator, *inputs, **attributes)
        self._places[name] = self._at
        before_relu = Watched.operators[self._at + 1 : self._at + 2] == ["Relu"]
        if operator in _KEEP_SCALE and inputs[0] in self._scales:
            return self._rounded(name, self._scales[inputs[0]])
        if operator == "Relu" or (operator in {"Conv", "Add"} and not before_relu):
            return self._rounded(name)
        return name

    def _rounded(self, name: str, scale: tuple[float, str, str] | None = None) -> str:
        if scale is None:
            low, high = self.ranges[self._places[name]]
            low = min(low, 0.0)
            step = (max(high, 1e-6) - low) / 255
            zero = super().constant(round(-low / step), "uint8")
            scale = (step, super().constant(step), zero)
        _, step_name, zero = scale
        whole = super().add("QuantizeLinear", name, step_name, zero)
        back = super().add("DequantizeLinear", whole, step_name, zero)
        self._scales[back] = scale
        return back

    def _conv_inputs(self, x: str, filters: str, biases: str) -> tuple[str, str, str]:
        if x not in self._scales:
            x = self._rounded(x)
        weights = self._arrays[filters]
        steps = np.abs(weights).max(axis=(1, 2, 3)) / self.most
        whole = np.round(weights / steps[:, None, None, None])
        taken, _, _ = self._scales[x]
        sums = np.round(self._arrays[biases] / (taken * steps))
        return (
            x,
            self._from_whole(whole, "int8", steps),
            self._from_whole(sums, "int32", taken * steps),
        )

    def _from_whole(self, whole: np.ndarray, dtype: str, steps: np.ndarray) -> str:
        number, zeros = (
            super(Quantized, self).constant(values, dtype)
            for values in (whole, np.zeros(len(steps)))
        )
        scale = super().constant(steps)
        return super().add("DequantizeLinear", number, scale, zeros, axis=0)


def session_of(kind: type[OnnxGraph], network: Any) -> Any:
    dlib_to_onnx.OnnxGraph = kind  # type: ignore[misc]
    return open_session(dlib_to_onnx.onnx_model(network))


def chips_of(folder: Path) -> np.ndarray:
    detector, chips = open_detector(VisionSettings()), []
    for path in sorted(folder.glob("*.jpg")):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        if found := detector.find(pixels):
            chips.append(detector.align(pixels, found[0]).chip)
    return np.stack(chips)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    chips = chips_of(arguments.portraits)
    network = read_network(read_verified(FACE_RESNET))
    watched = session_of(Watched, network)
    known = chips[:: max(1, len(chips) // _CALIBRATED)]
    lows, highs = [], []
    for chip in known:
        results = watched.run(
            [f"watched{n}" for n in range(len(Watched.operators))], {"chips": chip[np.newaxis]}
        )
        lows.append([float(np.min(result)) for result in results])
        highs.append([float(np.max(result)) for result in results])
    Quantized.ranges = list(zip(np.min(lows, axis=0), np.max(highs, axis=0), strict=True))
    sessions = {"float32": session_of(OnnxGraph, network)}
    for bits, most in ((8, 127), (7, 63)):
        Quantized.most = most
        sessions[f"int8, weights of {bits} bits"] = session_of(Quantized, network)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(arguments.rounds + 1):
        for name, session in sessions.items():
            started = time.thread_time()
            session.run(["embeddings"], {"chips": chips[turn % len(chips)][np.newaxis]})
            times[name].append((time.thread_time() - started) * 1000)
    rows = {
        name: to_unit_rows(
            np.concatenate([s.run(["embeddings"], {"chips": c[np.newaxis]})[0] for c in chips])
        )
        for name, s in sessions.items()
    }
    own = rows["float32"]
    pairs = np.triu_indices(len(own), 1)
    print(f"{len(chips)} faces; two photos of one person are 0.27 apart\n")
    print(
        "| network | CPU ms a face | moved: 50 % | 95 % | most | distances of pairs: 50 % | most |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        moved = np.linalg.norm(row - own, axis=1)
        apart = [np.sqrt(np.maximum(2 - 2 * (r @ r.T)[pairs], 0)) for r in (own, row)]
        off = np.abs(apart[1] - apart[0])
        print(
            f"| {name} | {statistics.median(times[name][1:]):.2f} | {np.median(moved):.3f} "
            f"| {np.quantile(moved, 0.95):.3f} | {moved.max():.3f} "
            f"| {np.median(off):.3f} | {off.max():.3f} |"
        )


if __name__ == "__main__":
    main()
