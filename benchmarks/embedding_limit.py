"""How near an embedding comes to what one core can multiply, and how far it is from dlib's own.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.embedding_limit [--rounds 40]

Products of matrices by the same library, on one thread and in turns with the embeddings, are the
measure: no order of the same multiplications is faster. It takes CPU time, and lasts half a minute.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from automatch.vision import DlibEmbedder
from automatch.vision.models.onnx_model import open_session
from automatch.vision.models.onnx_writer import OnnxGraph
from tests.support.dlib_inference import DlibInference

_FACE = 2 * 254_306_304
"""Operations of a face: two for each multiplication of dlib's 29 convolutions at their sizes."""

_SIDES = (512, 768)


def _product(side: int) -> Callable[[], object]:
    rng = np.random.default_rng(side)
    left, right = rng.normal(size=(2, side, side)).astype(np.float32)
    graph = OnnxGraph("product")
    taken = graph.input("left", "float32", (side, side))
    product = graph.add("MatMul", taken, graph.constant(right))
    graph.output(product, "product", "float32", (side, side))
    session = open_session(graph.to_bytes())
    return lambda: session.run(None, {"left": left})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    embedder, network = DlibEmbedder(), DlibInference()
    chips = np.random.default_rng(0).integers(0, 256, (8, 150, 150, 3), np.uint8)
    acts: dict[str, tuple[Callable[[], object], int]] = {
        "dlib's own": (lambda: network.raw(chips[:1]), _FACE),
        "one face": (lambda: embedder.embed(chips[:1]), _FACE),
        "eight in one run": (lambda: embedder.embed(chips), 8 * _FACE),
        **{f"product, {side}": (_product(side), 2 * side**3) for side in _SIDES},
    }
    times: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds + 1):
        for name, (act, _operations) in acts.items():
            started = time.thread_time()
            act()
            times[name].append(time.thread_time() - started)
    print("| what | CPU ms, median | billions of operations a second, median | best |")
    print("|---|---|---|---|")
    for name, (_act, operations) in acts.items():
        # The first round loads.
        each = times[name][1:]
        middle, best = statistics.median(each), min(each)
        speeds = f"{operations / middle / 1e9:.0f} | {operations / best / 1e9:.0f}"
        print(f"| {name} | {middle * 1000:.2f} | {speeds} |")
    for name, faces in (("one face", 1), ("eight in one run", 8)):
        turns = zip(times["dlib's own"][1:], times[name][1:], strict=True)
        ratio = statistics.median(theirs * faces / ours for theirs, ours in turns)
        print(f"\n{name}: {ratio:.1f} times dlib's speed", end="")
    print()


if __name__ == "__main__":
    main()
