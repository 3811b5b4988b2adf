"""Pictures at another size, which are those of Pillow in a fraction of the time."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from automatch.vision.decode import scaling
from tests.support.photos import astronaut

_SIZES = [(400, 300), (170, 500), (700, 640)]


def _see_through() -> Image.Image:
    image = astronaut().convert("RGBA")
    image.paste((255, 0, 0, 0), (0, 0, 200, 512))
    return image


_PICTURES = {
    "grey": lambda: astronaut().convert("L"),
    "rgb": astronaut,
    "alpha": _see_through,
    "cmyk": lambda: astronaut().convert("CMYK"),
}


@pytest.mark.parametrize("cubic", [True, False], ids=["cubic", "linear"])
@pytest.mark.parametrize("kind", list(_PICTURES))
@pytest.mark.parametrize("size", _SIZES, ids=str)
def test_picture_is_that_of_pillow(size: tuple[int, int], kind: str, cubic: bool) -> None:
    image = _PICTURES[kind]()
    fast = scaling.scaled(image, size, cubic=cubic)
    filtering = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    slow = image.resize(size, filtering)

    differences = np.asarray(fast).astype(int) - np.asarray(slow)
    assert np.abs(differences).mean() < 0.5
    assert np.percentile(np.abs(differences), 99.9) <= 3


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    assert scaling.scaled(astronaut(), (512, 512), cubic=True) is astronaut()


def test_what_is_transparent_gives_no_colour_to_its_neighbours() -> None:
    page = Image.new("RGBA", (100, 100), (0, 0, 255, 255))
    page.paste((255, 0, 0, 0), (0, 0, 51, 100))

    rows = np.asarray(scaling.scaled(page, (33, 33), cubic=True))
    seen = rows[rows[..., 3] > 20]
    assert seen[:, 0].max() < 20
