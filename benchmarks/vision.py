"""Time per photo of dlib's own pipeline and of ours, by stage and in total, on one thread and two.

    .venv/bin/python -m benchmarks.vision [--yunet FILE] [--photos 20] [--rounds 3]

dlib's own pipeline decodes the whole file with Pillow in the same process, detects at a long side
of 640 like ours, and embeds with dlib. Ours decodes in a child process, embeds with onnxruntime,
and makes the kept copy and the thumbnail. All variants alternate in one run, so that other load
affects them equally. Beside wall-clock time it prints CPU time, child processes included, which
other load affects less. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import skimage.data
from PIL import Image

from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import DlibEmbedder, LocalAnalyzer
from automatch.vision.decode.decoder import Decoder
from automatch.vision.load import open_detector
from tests.support.dlib_inference import DlibInference

_SIZES = {"640 x 640": 640, "1600 x 1600": 1600, "12 megapixels": 3464}
_HOG = VisionSettings()
_ME = psutil.Process()


def make_photos(side: int, count: int) -> list[bytes]:
    """Return JPEGs of one face, with the grain of a camera so that they compress like photos."""
    page = Image.fromarray(skimage.data.astronaut()).resize((side, side), Image.Resampling.LANCZOS)
    pixels = np.asarray(page, np.int16)
    rng = np.random.default_rng(side)
    photos = []
    for _ in range(count):
        grain = rng.normal(0, 4, (side, side, 1)).astype(np.int16)
        out = io.BytesIO()
        Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(
            out, "JPEG", quality=88
        )
        photos.append(out.getvalue())
    return photos


@dataclass
class Taken:
    """Milliseconds of each photo, and what a round of them took."""

    each: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def _processors_s() -> float:
    """Return the seconds of processors that this process and its living children have used."""
    used = 0.0
    for process in (_ME, *_ME.children(recursive=True)):
        times = process.cpu_times()
        used += times.user + times.system
    return used


class DlibPipeline:
    """The pipeline that one would write with dlib alone."""

    def __init__(self, threads: int) -> None:
        self._detector = open_detector(_HOG)
        self._network = DlibInference()
        self._threads = threads

    def process(self, photo: bytes) -> float:
        started = time.perf_counter()
        with Image.open(io.BytesIO(photo)) as image:
            pixels = np.asarray(image.convert("RGB"))
        aligned = self._detector.align(pixels, self._detector.find(pixels)[0])
        self._network.raw(aligned.chip[np.newaxis])
        return (time.perf_counter() - started) * 1000

    def run(self, photos: list[bytes]) -> list[float]:
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(self.process, photos))


def measure_whole(
    photos: list[bytes], yunet: Path | None, rounds: int
) -> tuple[dict[str, Taken], dict[str, float]]:
    """Return what each variant took of *photos*, and the most megabytes its processes held."""
    taken: dict[str, Taken] = {}
    memory: dict[str, float] = {}

    def note(name: str, each: list[float], started: float, used: float) -> None:
        record = taken.setdefault(name, Taken())
        record.each += each
        record.rates.append(len(photos) / (time.perf_counter() - started))
        record.cpu.append((_processors_s() - used) / len(photos) * 1000)
        held = sum(p.memory_info().rss for p in (_ME, *_ME.children(recursive=True))) / 1024**2
        memory[name] = max(memory.get(name, 0), held)

    async def ours(threads: int, file: Path | None) -> None:
        settings = Settings(vision=VisionSettings(threads=threads, yunet_file=file))
        async with LocalAnalyzer(settings, DlibEmbedder()) as analyzer:

            async def extract(photo: bytes) -> float:
                started = time.perf_counter()
                await analyzer.extract(photo)
                return (time.perf_counter() - started) * 1000

            async def run_all(batch: list[bytes]) -> list[float]:
                waiting, each = list(batch), []

                async def worker() -> None:
                    while waiting:
                        each.append(await extract(waiting.pop()))

                await asyncio.gather(*(worker() for _ in range(threads)))
                return each

            await run_all(photos[: 2 * threads])
            used, started = _processors_s(), time.perf_counter()
            each = await run_all(photos)
            note(f"ours, {'YuNet' if file else 'HOG'}, {threads}", each, started, used)

    for _ in range(rounds):
        for threads in (1, 2):
            for file in (None, yunet) if yunet else (None,):
                asyncio.run(ours(threads, file))
    for _ in range(rounds):
        for threads in (1, 2):
            pipeline = DlibPipeline(threads)
            pipeline.run(photos[:2])
            used, started = _processors_s(), time.perf_counter()
            note(f"dlib's own, {threads}", pipeline.run(photos), started, used)
    return taken, memory


def measure_stages(
    photos: list[bytes], arguments: argparse.Namespace
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Return for each stage and engine the milliseconds that passed and those of the processor."""
    decoder, embedder, network = Decoder(Settings()), DlibEmbedder(), DlibInference()
    detectors = {"HOG": open_detector(_HOG)}
    if arguments.yunet:
        detectors["YuNet"] = open_detector(VisionSettings(yunet_file=arguments.yunet))
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}

    def timed(stage: str, engine: str, act: Callable[..., Any], *inputs: Any) -> Any:
        started, used = time.perf_counter(), time.thread_time()
        result = act(*inputs)
        passed, used = time.perf_counter() - started, time.thread_time() - used
        times.setdefault((stage, engine), []).append((passed * 1000, used * 1000))
        return result

    try:
        chips: list[np.ndarray] = []
        for turn, photo in enumerate([photos[0], *photos * arguments.rounds]):
            if turn == 1:
                # What loads a model or starts a process is no cost of a photo.
                times.clear()
            timed("decode", "dlib's own", _whole, photo)
            pixels = timed("decode", "ours", decoder.decode, photo)
            for name, detector in detectors.items():
                found = timed("detect", name, detector.find, pixels)
                aligned = timed("align", name, detector.align, pixels, found[0])
                chip = aligned.chip[np.newaxis]
            timed("embed", "dlib's own", network.raw, chip)
            timed("embed", "ours", embedder.embed, chip)
            chips = [*chips, chip[0]][-8:]
            if len(chips) == 8:
                timed("embed 8 in one run", "ours", embedder.embed, np.stack(chips))
    finally:
        decoder.close()
    return times


def _whole(photo: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(photo)) as image:
        return np.asarray(image.convert("RGB"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--yunet", type=Path)
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ",
        end="",
    )
    print(f"load {os.getloadavg()[0]:.1f} at the start")
    for size, side in _SIZES.items():
        photos = make_photos(side, arguments.photos)
        print(f"\n### {size}, {sum(map(len, photos)) / len(photos) / 1024:.0f} KB\n")
        print("| stage | by | ms p50 | p99 | CPU ms |\n|---|---|---|---|---|")
        for (stage, engine), each in measure_stages(photos, arguments).items():
            passed, used = np.array(each).T
            # The child's work is not this thread's.
            cpu = "" if (stage, engine) == ("decode", "ours") else f"{np.median(used):.1f}"
            middle, late = np.percentile(passed, [50, 99])
            print(f"| {stage} | {engine} | {middle:.1f} | {late:.1f} | {cpu} |")
        taken, memory = measure_whole(photos, arguments.yunet, arguments.rounds)
        print(
            "\n| pipeline, threads | photos/s, best | median | ms p50 | p99 | CPU ms a photo | MB |"
        )
        print("|---|---|---|---|---|---|---|")
        for name, record in taken.items():
            print(
                f"| {name} | {max(record.rates):.1f} | {statistics.median(record.rates):.1f} "
                f"| {statistics.median(record.each):.0f} | {np.percentile(record.each, 99):.0f} "
                f"| {min(record.cpu):.1f} | {memory[name]:.0f} |"
            )
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
