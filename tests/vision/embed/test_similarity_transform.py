"""The way from a face in a photo to its upright chip, and back."""

from __future__ import annotations

import math

import dlib
import numpy as np
import pytest

from automatch.vision.embed.similarity_transform import Placement, turn_degrees
from tests.support.photos import astronaut

_TEMPLATE = np.array([(45.0, 44.0), (103.0, 44.0), (74.0, 77.0), (48.0, 100.0), (100.0, 100.0)])


def _moved(points: np.ndarray, angle: float, scale: float, by: tuple[int, int]) -> np.ndarray:
    cosine, sine = math.cos(angle), math.sin(angle)
    return scale * points @ np.array([[cosine, sine], [-sine, cosine]]) + by


@pytest.mark.parametrize("angle", [-3.0, -0.4, 0.0, 0.7, 3.1])
@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_landmarks_that_were_moved_are_found_back(angle: float, scale: float) -> None:
    landmarks = _moved(_TEMPLATE, angle, scale, (200, -30))

    placement = Placement.by_landmarks(landmarks, _TEMPLATE)

    assert placement.to_photo(_TEMPLATE) == pytest.approx(landmarks, abs=1e-6)


def test_landmarks_that_do_not_fit_are_met_in_the_middle() -> None:
    landmarks = _TEMPLATE + np.array([(2, 0), (-2, 0), (0, 0), (2, 0), (-2, 0)])

    placement = Placement.by_landmarks(landmarks, _TEMPLATE)

    assert placement.matrix == pytest.approx(np.eye(2) * placement.matrix[0, 0], abs=1e-9)
    assert 0.93 < placement.matrix[0, 0] < 1


def test_a_chip_is_placed_by_middle_side_and_angle() -> None:
    placement = Placement.of_chip((400, 300), 300, math.pi / 2)

    assert placement.to_photo([(75, 75), (150, 75), (75, 150)]) == pytest.approx(
        np.array([(400, 300), (400, 450), (250, 300)])
    )


@pytest.mark.parametrize(
    ("center", "inside"),
    [((75, 75), 1.0), ((0, 75), 0.5), ((0, 0), 0.25), ((-75, 75), 0.0), ((200, 100), 0.5)],
)
def test_the_share_inside_is_counted(center: tuple[int, int], inside: float) -> None:
    photo = np.zeros((175, 200, 3), np.uint8)

    assert Placement.of_chip(center, 150, 0).inside(photo) == pytest.approx(inside, abs=0.02)


@pytest.mark.parametrize("scale", [0.5, 1, 2.5, 7])
def test_the_chip_is_the_part_of_the_photo(scale: float) -> None:
    side = round(150 * scale)
    photo = np.zeros((side + 40, side + 60, 3), np.uint8)
    photo[10 : 10 + side, 30 : 30 + side // 2] = (250, 0, 0)
    photo[10 : 10 + side, 30 + side // 2 : 30 + side] = (0, 0, 250)

    chip = Placement.of_chip((30 + side / 2, 10 + side / 2), side, 0).cut(photo)

    assert chip.shape == (150, 150, 3)
    assert (chip[5:-5, 5:70] == (250, 0, 0)).all()
    assert (chip[5:-5, 80:-5] == (0, 0, 250)).all()


@pytest.mark.parametrize("angle", [-0.6, 0.0, 0.3])
def test_a_chip_of_dlib_is_placed_as_dlib_cuts_it(angle: float) -> None:
    photo = np.asarray(astronaut())
    eyes_and_nose = np.array([(54, 0), (36, 0), (-54, 0), (-36, 0), (0, 60)])
    landmarks = _moved(eyes_and_nose, angle, 1, (220, 110)).round().astype(int)
    parts = dlib.points([dlib.point(*map(int, point)) for point in landmarks])
    shape = dlib.full_object_detection(dlib.rectangle(), parts)

    details = dlib.get_face_chip_details(shape, 150, 0.25)
    center = details.rect.center()
    ours = Placement.of_chip((center.x, center.y), details.rect.width(), details.angle).cut(photo)

    theirs = dlib.get_face_chip(photo, shape, 150, 0.25)
    assert np.abs(ours.astype(int) - theirs).mean() < 6


def test_a_chip_past_the_edge_is_black_there() -> None:
    photo = np.full((100, 100, 3), 200, np.uint8)

    chip = Placement.of_chip((0, 50), 100, 0).cut(photo)

    assert (chip[:, :70] == 0).all()
    assert (chip[5:-5, 80:] == 200).all()


@pytest.mark.parametrize("angle", [0, 10, 30, 60])
@pytest.mark.parametrize("tilt", [0.0, 0.5])
def test_a_turn_is_told_by_the_nose(angle: int, tilt: float) -> None:
    aside = 0.48 * 50 * math.tan(math.radians(angle))
    points = _moved(np.array([(0.0, 0.0), (50.0, 0.0), (25 - aside, 30.0)]), tilt, 2, (9, 9))

    assert turn_degrees(*points, depth=0.48) == pytest.approx(angle)


def test_eyes_in_one_place_are_a_profile() -> None:
    assert turn_degrees((5, 5), (5, 5), (9, 9), 0.48) == 90
