"""The generator of the drawn portraits, and that the shipped files are what it draws."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from automatch.demo.portraits import PORTRAITS_PER_GENDER
from automatch.model.people import Gender
from tools.portraits import hair
from tools.portraits.__main__ import FOLDER, draw_file, looks_file
from tools.portraits.look import choose_look
from tools.portraits.portrait import draw_look, draw_portrait

MOST_BYTES = 20_000


def opened(photo: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(photo))
    image.load()
    return image


@pytest.mark.parametrize("gender", Gender)
@pytest.mark.parametrize("number", [0, 93, PORTRAITS_PER_GENDER - 1])
def test_the_shipped_files_are_what_is_drawn(gender: Gender, number: int) -> None:
    shipped = opened((FOLDER / gender / f"{number:03}.webp").read_bytes())

    drawn = opened(draw_file(gender, number))

    # Another version of Pillow may round the edges of shapes differently.
    difference = np.asarray(shipped, np.int16) - np.asarray(drawn, np.int16)
    assert np.abs(difference).mean() < 0.5


def test_there_is_a_file_for_each_number_and_no_other() -> None:
    names = {f"{gender}/{n:03}.webp" for gender in Gender for n in range(PORTRAITS_PER_GENDER)}

    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.webp")} == names


def test_the_shipped_ranks_are_those_of_the_drawings() -> None:
    assert (FOLDER / "looks.json").read_text() == looks_file()


@pytest.mark.parametrize("gender", Gender)
def test_every_file_is_a_small_square_picture_without_metadata(gender: Gender) -> None:
    for path in sorted((FOLDER / gender).iterdir())[:40]:
        image = opened(path.read_bytes())

        assert (image.format, image.mode, image.size) == ("WEBP", "RGB", (480, 480))
        assert path.stat().st_size < MOST_BYTES
        assert not image.getexif()
        assert not {"exif", "xmp", "icc_profile"} & {key for key in image.info if image.info[key]}


def test_the_same_seed_draws_the_same_bytes() -> None:
    assert draw_portrait(7, Gender.MALE).webp() == draw_portrait(7, Gender.MALE).webp()


def test_a_seed_may_be_as_large_as_an_id() -> None:
    assert draw_portrait(2**128 - 1, Gender.MALE).image().size == (480, 480)


@pytest.mark.parametrize(
    ("trait", "values"),
    [
        ("beard", (None, "full", "stubble", "chin")),
        ("glasses", (None, "round", "square")),
        ("eyes", ("dot", "open", "happy")),
        ("mouth", ("smile", "grin", "small", "wry")),
        ("outfit", ("tee", "shirt", "hoodie", "vneck", "turtleneck")),
        ("freckles", (False, True)),
        ("earrings", (False, True)),
        ("style", (hair.BALD, *hair.FOR_MEN)),
        ("style", hair.FOR_WOMEN),
    ],
)
def test_every_trait_can_be_seen(trait: str, values: tuple[Any, ...]) -> None:
    look = choose_look(3, Gender.MALE)

    pictures = {
        draw_look(dataclasses.replace(look, **{trait: value})).image().tobytes() for value in values
    }

    assert len(pictures) == len(values)


def test_choosing_reaches_every_trait() -> None:
    looks = [choose_look(seed, gender) for seed in range(100) for gender in Gender]

    assert {look.beard for look in looks} == {None, "full", "stubble", "chin"}
    assert {look.glasses for look in looks} == {None, "round", "square"}
    assert {look.style for look in looks} == {hair.BALD, *hair.FOR_MEN, *hair.FOR_WOMEN}
    assert len({look.head.skin for look in looks}) == 9
