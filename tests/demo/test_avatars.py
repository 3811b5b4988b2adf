from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
from PIL import Image

from automatch.demo import hair
from automatch.demo.avatars import draw_avatar, draw_look
from automatch.demo.look import choose_look
from automatch.model.people import Gender

MOST_BYTES = 40_000


def opened(photo: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(photo))
    image.load()
    return image


@pytest.mark.parametrize("gender", Gender)
def test_every_avatar_is_a_small_square_jpeg(gender: Gender) -> None:
    for seed in range(40):
        photo = draw_avatar(seed, gender)
        image = opened(photo)

        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (480, 480))
        assert len(photo) < MOST_BYTES


def test_an_avatar_carries_no_metadata() -> None:
    photo = draw_avatar(1, Gender.FEMALE)

    assert set(opened(photo).info) <= {
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
    }
    assert not opened(photo).getexif()
    assert b"Exif" not in photo


def test_the_same_seed_draws_the_same_bytes() -> None:
    assert draw_avatar(7, Gender.MALE) == draw_avatar(7, Gender.MALE)


def test_other_seeds_and_genders_draw_other_people() -> None:
    drawn = {draw_avatar(seed, gender) for seed in range(30) for gender in Gender}

    assert len(drawn) == 60


def test_a_seed_may_be_as_large_as_an_id() -> None:
    assert opened(draw_avatar(2**128 - 1, Gender.MALE)).size == (480, 480)


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

    pictures = {draw_look(dataclasses.replace(look, **{trait: value})) for value in values}

    assert len(pictures) == len(values)


def test_choosing_reaches_every_trait() -> None:
    looks = [choose_look(seed, gender) for seed in range(600) for gender in Gender]

    assert {look.beard for look in looks} == {None, "full", "stubble", "chin"}
    assert {look.glasses for look in looks} == {None, "round", "square"}
    assert {look.style for look in looks} == {hair.BALD, *hair.FOR_MEN, *hair.FOR_WOMEN}
    assert len({look.head.skin for look in looks}) == 9
