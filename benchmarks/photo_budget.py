"""What each stage of a photo costs with HOG and with YuNet, and how much of it is inside dlib.

    .venv/bin/python -m benchmarks.photo_budget YUNET_FILE [--rounds 8]

All stages run in this process, the decoder's too, and their CPU time is printed, which
other load affects least. The pipes to the decoder's child are a stage of their own. It lasts half a
minute.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import DlibEmbedder
from automatch.vision.decode import decoder as decoder_module
from automatch.vision.decode.upload_check import limits_from
from automatch.vision.detect import hog_detector
from automatch.vision.detect.photo_copies import kept_copy, portrait
from automatch.vision.detect.quality import measure
from automatch.vision.load import open_detector
from automatch.vision.pipeline import Pipeline, embed
from benchmarks.vision import make_photos

# The decoder's child loads its modules on its own.
sys.path.append(str(Path(decoder_module.__file__).parent))

import image_decode
import image_header
import picture_data

_SIZES = {"640 x 640": 640, "12 megapixels": 3464}


class Budget:
    """Milliseconds of the processor by stage."""

    def __init__(self) -> None:
        self.ms: dict[str, list[float]] = {}

    def timed(self, stage: str, act: Callable[..., Any], *inputs: Any) -> Any:
        started = time.process_time()
        result = act(*inputs)
        self.ms.setdefault(stage, []).append((time.process_time() - started) * 1000)
        return result

    def of(self, stage: str) -> float:
        # The first round loads.
        return statistics.median(self.ms[stage][1:])


def look(budget: Budget, photo: bytes, pipelines: dict[str, Pipeline]) -> None:
    """Put one photo through every stage."""
    limits = limits_from(Settings())
    budget.timed("header", image_header.check, photo, limits)
    data, _ = budget.timed("without notes", picture_data.drawn_data, "jpeg", photo)
    with Image.open(io.BytesIO(data)) as image:
        size = image_decode._fit(image.size, Settings().vision.kept_side)
        image.draft(None, size)
        budget.timed("read and draw", image.load)
        _, rgb = budget.timed("scale to the kept size", image_decode._finished, image, size, None)
    budget.timed("pipes, both ends", _through_pipe, photo + rgb)
    pixels = np.frombuffer(rgb, np.uint8).reshape(size[1], size[0], 3)
    for name, pipeline in pipelines.items():
        own = budget.timed(f"search, {name}", pipeline._find, pixels).detections[0]
        aligned = budget.timed(f"align, {name}", pipeline.detector.align, pixels, own)
    budget.timed("quality", measure, own, aligned)
    budget.timed("embed", embed, pipeline.embedder, aligned.chip[np.newaxis])
    page = budget.timed("page", Image.fromarray, pixels)
    budget.timed("kept copy", kept_copy, page)
    budget.timed("thumbnail", portrait, page, own, 320)


def _through_pipe(data: bytes) -> None:
    source, sink = os.pipe()
    rest = memoryview(bytearray(len(data)))

    def write() -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(sink, left) :]

    writing = threading.Thread(target=write)
    writing.start()
    while rest:
        rest = rest[os.readv(source, [rest]) :]
    writing.join()
    os.close(source)
    os.close(sink)


def watch_dlib(spent: list[float]) -> None:
    """Add what each search inside dlib takes to the last of *spent*."""
    run = hog_detector._run

    def timed(*inputs: Any, **options: Any) -> Any:
        # A search runs in two threads.
        started = time.thread_time()
        found = run(*inputs, **options)
        spent[-1] += (time.thread_time() - started) * 1000
        return found

    hog_detector._run = timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("yunet", type=Path)
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    embedder = DlibEmbedder()
    pipelines = {
        name: Pipeline(None, open_detector(vision), embedder, vision)  # type: ignore[arg-type]  # decodes here
        for name, vision in (
            ("HOG", VisionSettings()),
            ("YuNet", VisionSettings(yunet_file=arguments.yunet)),
        )
    }
    spent = [0.0]
    watch_dlib(spent)
    print(f"load {os.getloadavg()[0]:.1f}")
    for size, side in _SIZES.items():
        photos, budget = make_photos(side, 3), Budget()
        inside: list[float] = []
        for turn in range(arguments.rounds + 1):
            spent[:] = [0.0]
            look(budget, photos[turn % 3], pipelines)
            inside += spent
        stages = {stage: budget.of(stage) for stage in budget.ms}
        print(f"\n### {size}\n\n| stage | CPU ms |\n|---|---|")
        for stage, ms in stages.items():
            print(f"| {stage} | {ms:.1f} |")
        for name in pipelines:
            other = [stage for stage in stages if ", " in stage and not stage.endswith("both ends")]
            ms = sum(ms for stage, ms in stages.items() if stage not in other or name in stage)
            print(f"| **all, {name}** | **{ms:.0f}** |")
        dlib = statistics.median(inside[1:])
        print(f"\nInside dlib's detector: {dlib:.1f} of {stages['search, HOG']:.1f} ms.")


if __name__ == "__main__":
    main()
