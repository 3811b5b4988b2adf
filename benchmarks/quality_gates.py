"""Evidence for the quality limits: how much degradation an embedding bears.

Real photos are degraded step by step, and each step is measured as by a worker: the figure that is
checked, how far the embedding has moved from that of the untouched photo, and how many still count
as the same person (at most 0.385 apart) and are nearest to their own original among all.
Prints a table in Markdown for each gate.

    .venv/bin/python -m benchmarks.quality_gates FOLDER_OF_PORTRAITS [--yunet FILE] [--photos 40]

With --groups it prints what the gates refuse of the darkest, middle and brightest twelfth of all
faces of the folders, in the light they were taken in and in less and more of it.

Turned heads are computed (`tests/support/turned_head.py`): the picture is projected on a cylinder
with a nose. This is an approximation, which shows no ears and no hidden cheek.
"""

from __future__ import annotations

import argparse
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from automatch.errors.photo import FaceLowConfidenceError, FaceUnclearError, NoFaceError
from automatch.settings.vision import VisionSettings
from automatch.vision import DlibEmbedder
from automatch.vision.detect.detector import AlignedFace, Detection, Detector
from automatch.vision.detect.quality import check_quality, measure
from automatch.vision.load import open_detector
from tests.support.turned_head import turned

_SAME_PERSON = 0.385
_GROUP = 1 / 12
_LIGHTS = (1, 0.3, 0.2, 0.15, 0.1, 0.07, 1.3, 1.6, 2)
_Pair = tuple[Image.Image, tuple[Detection, AlignedFace]]
Worse = Callable[[Image.Image, Detection, float], Image.Image]


def shrink(photo: Image.Image, face: Detection, side: float) -> Image.Image:
    scale = side / face.side
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    return photo.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def blur(photo: Image.Image, face: Detection, radius: float) -> Image.Image:
    # Told in pixels of the chip, in which a face is about 100 wide.
    return photo.filter(ImageFilter.GaussianBlur(radius * face.side / 100))


def light(photo: Image.Image, _: Detection, gain: float) -> Image.Image:
    # The noise of a sensor does not fade with the light.
    noise = np.random.default_rng(1).normal(0, 3, (photo.height, photo.width, 3))
    lit = np.asarray(photo, np.float32) * gain + noise
    return Image.fromarray(lit.round().clip(0, 255).astype(np.uint8))


def cut(photo: Image.Image, face: Detection, share: float) -> Image.Image:
    left = round(face.box.left + share * face.box.width)
    return photo.crop((max(0, left), 0, photo.width, photo.height))


def cover(photo: Image.Image, face: Detection, share: float) -> Image.Image:
    covered = photo.copy()
    top = round(face.box.bottom + 0.1 * face.box.height - share * face.box.height)
    covered.paste((110, 130, 150), (face.box.left, top, face.box.right, photo.height))
    return covered


def turn(photo: Image.Image, face: Detection, degrees: float) -> Image.Image:
    return turned(photo, face.box, degrees)


_GATES: tuple[tuple[str, str, Worse, tuple[float, ...]], ...] = (
    ("face side, pixels", "face_side_px", shrink, (120, 100, 80, 70, 60, 50, 40, 30, 25, 20)),
    ("blur, pixels of the chip", "sharpness", blur, (0.5, 1, 1.5, 2, 2.5, 3, 4, 5)),
    ("light, share", "contrast", light, (0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03)),
    ("light, share", "brightness", light, (1.3, 1.6, 1.8, 2, 2.2, 2.5, 3)),
    ("turned, degrees", "yaw_degrees", turn, (10, 20, 30, 35, 40, 45, 50, 60)),
    ("cut off, share of the box", "inside", cut, (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)),
    ("covered from below, share", "confidence", cover, (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--yunet", type=Path)
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--gate", help="only this one, for example contrast")
    parser.add_argument("--groups", action="store_true")
    arguments = parser.parse_args()
    paths = sorted(path for folder in arguments.folders for path in folder.glob("*.jpg"))
    if not arguments.groups:
        paths = paths[:: max(1, len(paths) // arguments.photos)][: arguments.photos]
    photos = [Image.open(path).convert("RGB") for path in paths]
    embedder = DlibEmbedder()
    for file in (None, arguments.yunet) if arguments.yunet else (None,):
        detector = open_detector(VisionSettings(yunet_file=file))
        print(f"\n# {type(detector).__name__}, {len(photos)} photos")
        found = [_detect(detector, photo) for photo in photos]
        pairs = [(p, face) for p, face in zip(photos, found, strict=True) if face]
        own = embedder.embed(np.stack([face[1].chip for _, face in pairs]))
        if arguments.groups:
            _print_groups(detector, pairs, embedder, own)
            continue
        _print_untouched([face for _, face in pairs])
        for title, gate, worse, steps in _GATES:
            if arguments.gate not in {None, gate}:
                continue
            print(
                f"\n| {title} | found | `{gate}` 5 / 50 / 95 % | moved 50 / 90 % | same | nearest |"
            )
            print("|---|---|---|---|---|---|")
            for step in steps:
                degraded = [
                    _detect(detector, _as_file(worse(p, face[0], step))) for p, face in pairs
                ]
                print(f"| {step:g} {_row(gate, degraded, embedder, own)}")


def _print_untouched(found_faces: list[tuple[Detection, AlignedFace]]) -> None:
    figures = [measure(detection, aligned) for detection, aligned in found_faces]
    for name in figures[0]:
        spread = np.percentile([figure[name] for figure in figures], [0, 1, 50, 99, 100])
        print(f"untouched {name}: least, 1, 50, 99 %, most {spread.round(2)}")


def _print_groups(
    detector: Detector, pairs: list[_Pair], embedder: DlibEmbedder, own: np.ndarray
) -> None:
    brightness = np.array([measure(*face)["brightness"] for _, face in pairs])
    order = brightness.argsort()
    count = round(len(pairs) * _GROUP)
    middle = (len(pairs) - count) // 2
    groups = {
        "darkest": order[:count],
        "middle": order[middle : middle + count],
        "brightest": order[-count:],
    }
    print(
        "| light, share | faces | brightness | refused | moved 50 / 90 % |\n|---|---|---|---|---|"
    )
    for share in _LIGHTS:
        for name, who in groups.items():
            reasons: Counter[str] = Counter()
            moved = []
            for number in who:
                photo, (detection, _) = pairs[number]
                lit = photo if share == 1 else _as_file(light(photo, detection, share))
                face = _detect(detector, lit, thoroughly=True)
                reason = _refusal(detector, face)
                if reason is not None or face is None:
                    reasons[reason or ""] += 1
                else:
                    row = embedder.embed(face[1].chip[np.newaxis])[0]
                    moved.append(np.linalg.norm(row - own[number]))
            told = ", ".join(f"{count} `{code}`" for code, count in reasons.most_common())
            far = np.percentile(moved, [50, 90]) if moved else (np.nan, np.nan)
            print(
                f"| {share:g} | {count} {name} | {brightness[who].min():.0f} to "
                f"{brightness[who].max():.0f} | {told or 'none'} | {far[0]:.2f} / {far[1]:.2f} |",
                flush=True,
            )


def _refusal(detector: Detector, face: tuple[Detection, AlignedFace] | None) -> str | None:
    if face is None:
        return NoFaceError.code
    if face[0].confidence < detector.min_confidence:
        return FaceLowConfidenceError.code
    try:
        check_quality(measure(*face), VisionSettings())
    except FaceUnclearError as exc:
        return exc.code
    return None


def _row(
    gate: str,
    found_faces: list[tuple[Detection, AlignedFace] | None],
    embedder: DlibEmbedder,
    own: np.ndarray,
) -> str:
    who = [number for number, face in enumerate(found_faces) if face]
    if not who:
        return "| 0 % | | | | |"
    faces = [face for face in found_faces if face]
    rows = embedder.embed(np.stack([aligned.chip for _, aligned in faces]))
    read = np.percentile([measure(*face)[gate] for face in faces], [5, 50, 95])
    apart = np.linalg.norm(rows[:, None] - own[None], axis=2)
    moved = apart[np.arange(len(who)), who]
    numbers = " / ".join(f"{number:.3g}" for number in read)
    return (
        f"| {len(who) / len(found_faces):.0%} | {numbers} "
        f"| {np.median(moved):.2f} / {np.percentile(moved, 90):.2f} "
        f"| {(moved <= _SAME_PERSON).mean():.0%} | {(apart.argmin(axis=1) == who).mean():.0%} |"
    )


def _as_file(photo: Image.Image) -> Image.Image:
    out = io.BytesIO()
    photo.save(out, "JPEG", quality=90)
    return Image.open(out).convert("RGB")


def _detect(
    detector: Detector, photo: Image.Image, *, thoroughly: bool = False
) -> tuple[Detection, AlignedFace] | None:
    pixels = np.asarray(photo)
    found = detector.find(pixels)
    if thoroughly and not found:
        found = detector.find_small(pixels)
    return (found[0], detector.align(pixels, found[0])) if found else None


if __name__ == "__main__":
    main()
