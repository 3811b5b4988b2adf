"""What becomes of photos that are laid on their side or head, and what finding that out costs.

    .venv/bin/python -m benchmarks.turned_photos FOLDER_OF_PORTRAITS [--yunet FILE] [--photos N]

Each portrait is analyzed in four turns, as by a worker. Its embedding must be that of the upright
photo (less than 0.2 away), or it must be refused. Then the search in upright photos is timed, with
the other turns and without them alternately, in the CPU time of its thread. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from automatch.errors.photo import PhotoRejectedError
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import DlibEmbedder, LocalAnalyzer
from automatch.vision.detect.detector import Detection, Detector
from automatch.vision.detect.upright import find_upright
from automatch.vision.load import open_detector

_SAME_FACE = 0.2
_TURNS = {0: "upright", 90: "on its left", 180: "on its head", 270: "on its right"}
_ROUNDS = 3


async def print_turns(vision: VisionSettings, photos: list[Image.Image]) -> None:
    """Print for each turn what became of the photos."""
    waiting = asyncio.Semaphore(vision.threads)
    async with LocalAnalyzer(Settings(vision=vision), DlibEmbedder()) as analyzer:

        async def extract(photo: Image.Image, degrees: int, *, strict: bool) -> np.ndarray | None:
            async with waiting:
                try:
                    file = _as_file(photo.rotate(degrees, expand=True))
                    return (await analyzer.extract(file, enforce_quality=strict)).face.embedding
                except PhotoRejectedError:
                    return None

        expected = await asyncio.gather(*(extract(photo, 0, strict=False) for photo in photos))
        print("| turn | same face | refused | another face | furthest |\n|---|---|---|---|---|")
        for degrees, name in _TURNS.items():
            found = await asyncio.gather(*(extract(p, degrees, strict=True) for p in photos))
            apart = np.array(
                [
                    np.inf if own is None else float(np.linalg.norm(own - row))
                    for own, row in zip(expected, found, strict=True)
                    if row is not None
                ]
            )
            same = int((apart < _SAME_FACE).sum())
            print(
                f"| {name} | {same} | {len(found) - len(apart)} | {len(apart) - same} "
                f"| {apart.max(initial=0):.3f} |",
                flush=True,
            )


def print_cost(detector: Detector, photos: list[Image.Image]) -> None:
    """Print what the other turns add to the search in upright photos."""
    ratios, with_turns, without, paid = [], 0.0, 0.0, 0
    for photo in photos:
        pixels = np.asarray(photo)
        looks = partial(_find, detector, pixels), partial(find_upright, detector, pixels)
        taken = np.array([[_cpu_s(look) for look in looks] for _ in range(_ROUNDS)])
        one, four = np.median(taken, axis=0)
        ratios.append(four / one)
        without, with_turns = without + one, with_turns + four
        found = _find(detector, pixels)
        paid += not found or found[0].confidence < detector.upright_confidence
    print(
        f"\nupright: {np.median(ratios):.3f} times the time without turns (median photo), "
        f"{with_turns / without:.3f} times in all; {paid} of {len(photos)} photos were turned, "
        f"{1000 * with_turns / len(photos):.1f} ms a photo"
    )


def _find(detector: Detector, pixels: np.ndarray) -> list[Detection]:
    found = detector.find(pixels)
    if found and found[0].confidence >= detector.min_confidence:
        return found
    return detector.find_small(pixels) or found


def _cpu_s(act: Callable[[], object]) -> float:
    started = time.thread_time()
    act()
    return time.thread_time() - started


def _as_file(photo: Image.Image) -> bytes:
    out = io.BytesIO()
    photo.save(out, "JPEG", quality=92)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--yunet", type=Path)
    parser.add_argument("--photos", type=int, help="only so many, spread over the folder")
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.glob("*.jpg"))
    if arguments.photos:
        paths = paths[:: max(1, len(paths) // arguments.photos)][: arguments.photos]
    photos = [Image.open(path).convert("RGB") for path in paths]
    for file in (None, arguments.yunet) if arguments.yunet else (None,):
        vision = VisionSettings(yunet_file=file)
        print(f"\n# {'YuNet' if file else 'HOG'}, {len(photos)} photos\n")
        asyncio.run(print_turns(vision, photos))
        detector = open_detector(vision)
        print_cost(detector, photos)


if __name__ == "__main__":
    main()
