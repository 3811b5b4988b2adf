"""Faces are brought upright: as dlib does it, and as ArcFace models were trained."""

from __future__ import annotations

import math

import dlib
import numpy as np
import pytest
import skimage.filters
import skimage.transform
from PIL import Image

from automatch.vision.detect.detector import AlignedFace
from automatch.vision.detect.yunet_detector import YunetDetector
from automatch.vision.embed.similarity_transform import SimilarityTransform, cut_chip, estimate_yaw
from tests.support.embedder import FakeEmbedder
from tests.support.photos import astronaut, hopper, shared_model

_TEMPLATE = np.array([(45.0, 44.0), (103.0, 44.0), (74.0, 77.0), (48.0, 100.0), (100.0, 100.0)])


def _moved(points: np.ndarray, angle: float, scale: float, by: tuple[int, int]) -> np.ndarray:
    cosine, sine = math.cos(angle), math.sin(angle)
    return scale * points @ np.array([[cosine, sine], [-sine, cosine]]) + by


@pytest.mark.parametrize("angle", [-3.0, -0.4, 0.0, 0.7, 3.1])
@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_landmarks_that_were_moved_are_found_back(angle: float, scale: float) -> None:
    landmarks = _moved(_TEMPLATE, angle, scale, (200, -30))

    transform = SimilarityTransform.from_landmarks(landmarks, _TEMPLATE)

    assert transform.to_photo(_TEMPLATE) == pytest.approx(landmarks, abs=1e-6)


def test_landmarks_that_do_not_fit_are_met_in_the_middle() -> None:
    landmarks = _TEMPLATE + np.array([(2, 0), (-2, 0), (0, 0), (2, 0), (-2, 0)])

    transform = SimilarityTransform.from_landmarks(landmarks, _TEMPLATE)

    assert transform.matrix == pytest.approx(np.eye(2) * transform.matrix[0, 0], abs=1e-9)
    assert 0.93 < transform.matrix[0, 0] < 1


def test_a_chip_is_placed_by_middle_side_and_angle() -> None:
    transform = SimilarityTransform.from_chip((400, 300), 300, math.pi / 2)

    assert transform.to_photo([(75, 75), (150, 75), (75, 150)]) == pytest.approx(
        np.array([(400, 300), (400, 450), (250, 300)])
    )


@pytest.mark.parametrize(
    ("center", "inside"),
    [((75, 75), 1.0), ((0, 75), 0.5), ((0, 0), 0.25), ((-75, 75), 0.0), ((200, 100), 0.5)],
)
def test_the_share_inside_is_counted(center: tuple[int, int], inside: float) -> None:
    photo = np.zeros((175, 200, 3), np.uint8)

    assert SimilarityTransform.from_chip(center, 150, 0).share_inside(photo) == pytest.approx(
        inside, abs=0.02
    )


@pytest.mark.parametrize("scale", [0.5, 1, 2.5, 7])
def test_the_chip_is_the_part_of_the_photo(scale: float) -> None:
    side = round(150 * scale)
    photo = np.zeros((side + 40, side + 60, 3), np.uint8)
    photo[10 : 10 + side, 30 : 30 + side // 2] = (250, 0, 0)
    photo[10 : 10 + side, 30 + side // 2 : 30 + side] = (0, 0, 250)

    chip = SimilarityTransform.from_chip((30 + side / 2, 10 + side / 2), side, 0).crop(photo)

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
    ours = SimilarityTransform.from_chip(
        (center.x, center.y), details.rect.width(), details.angle
    ).crop(photo)

    theirs = dlib.get_face_chip(photo, shape, 150, 0.25)
    assert np.abs(ours.astype(int) - theirs).mean() < 6


def test_a_chip_past_the_edge_is_black_there() -> None:
    photo = np.full((100, 100, 3), 200, np.uint8)

    chip = SimilarityTransform.from_chip((0, 50), 100, 0).crop(photo)

    assert (chip[:, :70] == 0).all()
    assert (chip[5:-5, 80:] == 200).all()


@pytest.mark.parametrize("angle", [0, 10, 30, 60, -30])
@pytest.mark.parametrize("tilt", [0.0, 0.5])
def test_a_turn_is_told_by_the_nose(angle: int, tilt: float) -> None:
    aside = 0.48 * 50 * math.tan(math.radians(angle))
    points = _moved(np.array([(0.0, 0.0), (50.0, 0.0), (25 + aside, 30.0)]), tilt, 2, (9, 9))

    assert estimate_yaw(*points, depth=0.48) == pytest.approx(angle)


def test_eyes_in_one_place_are_a_profile() -> None:
    assert estimate_yaw((5, 5), (5, 5), (9, 9), 0.48) == 90


_ARCFACE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)


class _Arcface(FakeEmbedder):
    model_id = "arcface-like"
    alignment = "arcface"
    chip_side = 112


def _aligned(landmarks: np.ndarray) -> AlignedFace:
    points = tuple((float(x), float(y)) for x, y in landmarks)
    return AlignedFace(np.zeros((150, 150, 3), np.uint8), points, 0.0, 1.0)


def test_landmarks_in_their_places_leave_the_photo_as_it_is() -> None:
    photo = np.asarray(astronaut())

    chip = cut_chip(_Arcface(), photo, _aligned(_ARCFACE))

    assert np.abs(chip.astype(int) - photo[:112, :112]).max() <= 1


@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_the_placement_is_umeyamas(noise: float) -> None:
    rng = np.random.default_rng(3)
    turned = skimage.transform.SimilarityTransform(scale=2.3, rotation=0.4, translation=(200, 90))
    landmarks = turned(_ARCFACE) + rng.normal(0, noise or 1e-9, (5, 2))

    ours = SimilarityTransform.umeyama(landmarks, _ARCFACE, 112)

    estimate = skimage.transform.SimilarityTransform.from_estimate(landmarks, _ARCFACE)
    corners = np.array([(0.0, 0.0), (111.0, 0.0), (0.0, 111.0), (56.0, 56.0)])
    # By the middles of pixels there, by their edges here.
    assert ours.to_photo(corners + 0.5) - 0.5 == pytest.approx(estimate.inverse(corners), abs=1e-6)


@pytest.mark.parametrize("scale", [0.7, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("turn", [-0.5, 0.0, 0.3])
def test_the_chip_is_what_a_warp_of_the_photo_gives(scale: float, turn: float) -> None:
    photo = np.asarray(astronaut().resize((900, 900), Image.Resampling.BICUBIC))
    placed = skimage.transform.SimilarityTransform(scale=scale, rotation=turn)
    landmarks = placed(_ARCFACE) - placed([[56, 56]]) + np.array((390, 150))

    chip = cut_chip(_Arcface(), photo, _aligned(landmarks))

    estimate = skimage.transform.SimilarityTransform.from_estimate(landmarks, _ARCFACE)
    smooth = skimage.filters.gaussian(photo / 255, max(scale - 1, 0.01) / 2.5, channel_axis=-1)
    warped = skimage.transform.warp(smooth, estimate.inverse, output_shape=(112, 112)) * 255
    assert np.abs(chip - warped).mean() < 3


@pytest.mark.parametrize("portrait", [astronaut, hopper])
def test_real_faces_come_to_lie_on_the_template(portrait: object) -> None:
    detector = YunetDetector(shared_model("face_detection_yunet_2023mar.onnx"), 640, 0.8)
    photo = np.asarray(portrait())  # type: ignore[operator]  # a function of two
    aligned = detector.align(photo, detector.find(photo)[0])

    chip = cut_chip(_Arcface(), photo, aligned)

    enlarged = np.asarray(Image.fromarray(chip).resize((448, 448)))
    landmarks = np.array(detector.find(enlarged)[0].landmarks) / 4
    assert chip.shape == (112, 112, 3)
    assert np.abs(landmarks - _ARCFACE).max() < 6


def test_a_model_that_takes_dlibs_chips_gets_them() -> None:
    aligned = _aligned(_ARCFACE)

    assert cut_chip(FakeEmbedder(), np.zeros((9, 9, 3), np.uint8), aligned) is aligned.chip
