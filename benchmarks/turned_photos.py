"""What becomes of photos that are laid on their side or head, and what finding that out costs.

    .venv/bin/python -m benchmarks.turned_photos FOLDER_OF_PORTRAITS [--yunet FILE] [--photos N]

Each portrait is analyzed in four turns, as by a worker. Its embedding must be that of the upright
photo (less than 0.2 away), or it must be refused. Then the search in upright photos is timed, with
the other turns and without them alternately, in the CPU time of its thread. Prints Markdown.

With --worse only this: of portraits that were made worse, how many are taken for upright.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import time
from collections import Counter
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
from benchmarks.quality_gates import blur, cover, light, shrink

_SAME_FACE = 0.2
_TURNS = {0: "upright", 90: "on its left", 180: "on its head", 270: "on its right"}
_ROUNDS = 3
_WORSE: dict[str, Callable[[Image.Image, Detection], Image.Image]] = {
    "not at all": lambda photo, _: photo,
    "dark, 0.15 of the light": lambda photo, face: light(photo, face, 0.15),
    "blurred, 2 pixels of the chip": lambda photo, face: blur(photo, face, 2),
    "small, a face of 60 pixels": lambda photo, face: shrink(photo, face, 60),
    "half covered": lambda photo, face: cover(photo, face, 0.5),
    "tilted by 25 degrees": lambda photo, _: photo.rotate(25),
}


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


def print_worse(detector: Detector, photos: list[Image.Image]) -> None:
    """Print for each way to make a photo worse how many are still taken for upright."""
    print("| made worse | upright | in another turn | without a face | searched in four turns |")
    print("|---|---|---|---|---|")
    faces = [(photo, _find(detector, np.asarray(photo))) for photo in photos]
    for name, make_worse in _WORSE.items():
        counts: Counter[str] = Counter()
        for photo, found in faces:
            pixels = np.asarray(make_worse(photo, found[0]) if found else photo)
            turns, detections = find_upright(detector, pixels)
            counts["none" if not detections else "upright" if turns == 0 else "turned"] += 1
            first = _find(detector, pixels)
            counts["paid"] += not first or first[0].confidence < detector.upright_confidence
        print(
            f"| {name} | {counts['upright']} | {counts['turned']} | {counts['none']}"
            f" | {counts['paid']} |",
            flush=True,
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
    parser.add_argument("--worse", action="store_true", help="only photos that were made worse")
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.glob("*.jpg"))
    if arguments.photos:
        paths = paths[:: max(1, len(paths) // arguments.photos)][: arguments.photos]
    photos = [Image.open(path).convert("RGB") for path in paths]
    for file in (None, arguments.yunet) if arguments.yunet else (None,):
        vision = VisionSettings(yunet_file=file)
        print(f"\n# {'YuNet' if file else 'HOG'}, {len(photos)} photos\n")
        detector = open_detector(vision)
        if arguments.worse:
            print_worse(detector, photos)
            continue
        asyncio.run(print_turns(vision, photos))
        print_cost(detector, photos)


if __name__ == "__main__":
    main()
