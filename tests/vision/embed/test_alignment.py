"""Chips of the ArcFace type: eyes, nose and mouth where such models were trained to have them."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.filters
import skimage.transform
from PIL import Image

from automatch.errors.embedder import ModelUnfitError
from automatch.vision.detect.detector import AlignedFace
from automatch.vision.detect.hog_detector import HogDetector
from automatch.vision.detect.yunet_detector import YunetDetector
from automatch.vision.embed.alignment import check_fit, chip_for
from automatch.vision.embed.similarity_transform import Placement
from tests.support.embedder import FakeEmbedder
from tests.support.photos import astronaut, hopper, shared_model

_TEMPLATE = np.array(
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

    chip = chip_for(_Arcface(), photo, _aligned(_TEMPLATE))

    assert np.abs(chip.astype(int) - photo[:112, :112]).max() <= 1


@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_the_placement_is_umeyamas(noise: float) -> None:
    rng = np.random.default_rng(3)
    turned = skimage.transform.SimilarityTransform(scale=2.3, rotation=0.4, translation=(200, 90))
    landmarks = turned(_TEMPLATE) + rng.normal(0, noise or 1e-9, (5, 2))

    ours = Placement.onto(landmarks, _TEMPLATE, 112)

    estimate = skimage.transform.SimilarityTransform.from_estimate(landmarks, _TEMPLATE)
    corners = np.array([(0.0, 0.0), (111.0, 0.0), (0.0, 111.0), (56.0, 56.0)])
    # By the middles of pixels there, by their edges here.
    assert ours.to_photo(corners + 0.5) - 0.5 == pytest.approx(estimate.inverse(corners), abs=1e-6)


@pytest.mark.parametrize("scale", [0.7, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("turn", [-0.5, 0.0, 0.3])
def test_the_chip_is_what_a_warp_of_the_photo_gives(scale: float, turn: float) -> None:
    photo = np.asarray(astronaut().resize((900, 900), Image.Resampling.BICUBIC))
    placed = skimage.transform.SimilarityTransform(scale=scale, rotation=turn)
    landmarks = placed(_TEMPLATE) - placed([[56, 56]]) + np.array((390, 150))

    chip = chip_for(_Arcface(), photo, _aligned(landmarks))

    estimate = skimage.transform.SimilarityTransform.from_estimate(landmarks, _TEMPLATE)
    smooth = skimage.filters.gaussian(photo / 255, max(scale - 1, 0.01) / 2.5, channel_axis=-1)
    warped = skimage.transform.warp(smooth, estimate.inverse, output_shape=(112, 112)) * 255
    assert np.abs(chip - warped).mean() < 3


@pytest.mark.parametrize("portrait", [astronaut, hopper])
def test_real_faces_come_to_lie_on_the_template(portrait: object) -> None:
    detector = YunetDetector(shared_model("face_detection_yunet_2023mar.onnx"), 640, 0.8)
    photo = np.asarray(portrait())  # type: ignore[operator]  # a function of two
    aligned = detector.align(photo, detector.find(photo)[0])

    chip = chip_for(_Arcface(), photo, aligned)

    enlarged = np.asarray(Image.fromarray(chip).resize((448, 448)))
    seen = np.array(detector.find(enlarged)[0].landmarks) / 4
    assert chip.shape == (112, 112, 3)
    assert np.abs(seen - _TEMPLATE).max() < 6


def test_a_model_that_takes_dlibs_chips_gets_them() -> None:
    aligned = _aligned(_TEMPLATE)

    assert chip_for(FakeEmbedder(), np.zeros((9, 9, 3), np.uint8), aligned) is aligned.chip


def test_a_detector_without_a_mouth_is_told_apart_before_anything_runs() -> None:
    hog = HogDetector(640, 0.2)
    check_fit(FakeEmbedder(), hog)

    with pytest.raises(ModelUnfitError, match=r"models fetch yunet.*VISION__YUNET_FILE"):
        check_fit(_Arcface(), hog)

    yunet = YunetDetector(shared_model("face_detection_yunet_2023mar.onnx"), 640, 0.8)
    check_fit(_Arcface(), yunet)
    check_fit(FakeEmbedder(), yunet)
