"""The drawn portraits that come with the package, 200 women and 200 men of 480 x 480 pixels.

They are lossless WebP files, which `tools/portraits` draws, and are given out as JPEG like any
photo that is kept. `looks.json` says where each has its eyes, and where it stands among all people:
see `population.TRAITS`.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from PIL import Image, ImageOps

from automatch.demo.population import Ranks
from automatch.model.faces import EyePlaces
from automatch.model.people import Gender

PORTRAITS_PER_GENDER = 200

_JPEG_QUALITY = 88
_CLEAR_FACE = 93
"""A woman whose face both detectors find without doubt: HOG scores 1.2 (0.2 is required) and YuNet
0.90 (0.8 is required); tests/ops/smoke_test/test_criteria.py measures it."""


def read_portrait(gender: Gender, number: int) -> bytes:
    """Return a portrait as a JPEG without metadata; *number* is below `PORTRAITS_PER_GENDER`."""
    return _to_jpeg(_open(gender, number))


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a portrait."""

    ranks: Ranks
    eyes: EyePlaces


@cache
def read_looks(gender: Gender) -> list[Look]:
    """Return what is known of all portraits of a gender, by number."""
    looks = json.loads(files("automatch.demo").joinpath("portraits", "looks.json").read_text())
    return [
        Look(
            tuple((low, high) for low, high in look["ranks"]),
            EyePlaces(tuple(look["eyes"][0]), tuple(look["eyes"][1]), 1, (0, 0, 1)),
        )
        for look in looks[gender.value]
    ]


def read_similar_pair() -> tuple[bytes, bytes]:
    """Return two different JPEGs of similar faces: a portrait and its mirror image.

    The default model finds them more similar than 0.99, so they match at any sensible threshold.
    """
    portrait = _open(Gender.FEMALE, _CLEAR_FACE)
    return _to_jpeg(portrait), _to_jpeg(ImageOps.mirror(portrait))


def _open(gender: Gender, number: int) -> Image.Image:
    file = files("automatch.demo").joinpath("portraits", gender.value, f"{number:03}.webp")
    return Image.open(io.BytesIO(file.read_bytes())).convert("RGB")


def _to_jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()
