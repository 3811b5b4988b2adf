"""The photos that are uploaded: real ones from a folder, or drawn ones of Auto-Match."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from PIL import Image, ImageOps

from automatch.ops.bench.load import SIDE, photo_pair
from benchmarks.feed_load import drawn_photos

VARIABLE = "AUTOMATCH_BENCH_PHOTOS"
_FACES = 10


async def read_pairs(folder: Path | None) -> tuple[list[tuple[bytes, bytes]], str]:
    """Return two photos of each of some people, as large as pages send them, and their kind.

    Without a folder, which the environment may name too, the people are drawn.
    """
    if folder is None and (named := os.environ.get(VARIABLE)):
        folder = Path(named)
    if folder is None:
        return await drawn_photos(_FACES), "drawn faces"
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg"})
    if not files:
        raise SystemExit(f"There is no .jpg in {folder}.")
    # Spread over the folder, whose names may be sorted by what they show.
    chosen = files[:: max(len(files) // _FACES, 1)][:_FACES]
    pairs = await asyncio.gather(*(asyncio.to_thread(_read_pair, path) for path in chosen))
    return pairs, "real faces"


def _read_pair(path: Path) -> tuple[bytes, bytes]:
    with Image.open(path) as image:
        portrait = ImageOps.exif_transpose(image).convert("RGB")
    return photo_pair(ImageOps.contain(portrait, (SIDE, SIDE), Image.Resampling.LANCZOS))
