"""Memory stays where it is, whatever is looked at: each kind of file, good, broken or refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from automatch.errors.photo import PhotoRejectedError
from automatch.errors.upload import UploadError
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import Embedder, LocalAnalyzer
from automatch.vision.detect import hog_detector
from tests.fault.conftest import SIZES, Size
from tests.support.photos import (
    astronaut,
    encode,
    hopper,
    multi_picture,
    scene_without_face,
    two_people,
    with_scans,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

_THREADS = 2
_ROUNDS = 8
_GROWTH_MB = 50


def _photos() -> list[bytes]:
    person = astronaut()
    photos = [
        encode(person.resize((side, side)), kind)
        for side, kinds in ((800, ("JPEG", "PNG", "WEBP")), (600, ("JPEG", "HEIF", "AVIF")))
        for kind in kinds
    ]
    photos += [photo[: len(photo) // 2] for photo in photos[1::2]]
    # Smaller, where every corner is looked at closely.
    photos += [encode(each.resize((200, 200))) for each in (scene_without_face(), hopper())]
    photos += [encode(two_people().reduce(2)), b"", b"GIF89a" * 1000]
    photos += [multi_picture(person, hopper()), encode(person.resize((100, 100)))]
    return [*photos, with_scans(person.resize((300, 300)), 39)]


def _resident_mb(process: str | int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


async def test_memory_stays_flat_over_many_mixed_photos(
    size: Size,
    embedder: Embedder,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if size == SIZES["short"]:
        # Where no face is found, the closest look takes most of the time.
        monkeypatch.setattr(hog_detector, "_SMALL_FACES_SIDE", 400)
    photos, rng = _photos(), np.random.default_rng(2)
    settings = Settings(vision=VisionSettings(threads=_THREADS))
    others = _children()
    seen = 0
    rounds: list[list[int]] = []
    async with LocalAnalyzer(settings, embedder) as analyzer:

        async def see(photo: bytes) -> None:
            nonlocal seen
            with contextlib.suppress(PhotoRejectedError, UploadError):
                await (analyzer.extract(photo) if rng.random() < 0.5 else analyzer.analyze(photo))
            seen += 1

        # Each thread's arena takes what the largest photo and the closest look ask for, once.
        for photo in photos:
            with contextlib.suppress(PhotoRejectedError, UploadError):
                await asyncio.gather(*(analyzer.analyze(photo) for _ in range(_THREADS)))
        for _ in range(_ROUNDS):
            chosen = rng.choice(len(photos), size.mixed_photos // _ROUNDS)
            for pair in zip(chosen[::2], chosen[1::2], strict=False):
                await asyncio.gather(*(see(photos[number]) for number in pair))
            children = sorted(_children() - others)
            rounds.append([round(_resident_mb(process)) for process in ("self", *children)])

    record_property("resident_mb", {"photos": seen, "rounds": rounds})
    assert {len(figures) for figures in rounds} == {1 + _THREADS}, "a decoder was lost"
    # Arenas grow in steps of 20 MB. A photo of 800 pixels kept by mistake would be 2 MB.
    for first, last in zip(rounds[1], rounds[-1], strict=True):
        assert last < first + _GROWTH_MB, rounds
