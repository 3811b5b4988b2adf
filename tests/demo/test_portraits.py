"""The shipped portraits as they are given out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from automatch.demo.people import simulated_people
from automatch.demo.portraits import PORTRAITS_PER_GENDER, read_portrait, read_similar_pair
from automatch.model.people import Gender


@pytest.mark.parametrize("gender", Gender)
@pytest.mark.parametrize("number", [0, PORTRAITS_PER_GENDER - 1])
def test_a_portrait_is_a_small_square_jpeg_without_metadata(gender: Gender, number: int) -> None:
    photo = read_portrait(gender, number)

    image = Image.open(io.BytesIO(photo))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (480, 480))
    assert len(photo) < 40_000
    assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not image.getexif()
    assert b"Exif" not in photo


def test_no_two_people_of_the_default_demo_have_the_same_portrait() -> None:
    people = simulated_people("UIT", 2 * PORTRAITS_PER_GENDER, seed=1)

    assert len({person.portrait() for person in people}) == len(people)


def test_portraits_repeat_in_a_larger_school() -> None:
    people = simulated_people("UIT", 2 * PORTRAITS_PER_GENDER + 2, seed=1)

    for again, first in zip(people[-2:], people, strict=False):
        assert again.portrait() == first.portrait()


def test_the_similar_pair_is_a_portrait_and_its_mirror_image() -> None:
    first, second = read_similar_pair()
    hers, his = (np.asarray(Image.open(io.BytesIO(photo)), int) for photo in (first, second))

    assert first != second
    assert np.abs(hers - his[:, ::-1]).mean() < 1
