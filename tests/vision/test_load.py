"""Models are opened by their names, and refused where they do not fit together."""

from __future__ import annotations

import pytest

from automatch.errors.embedder import ModelUnfitError
from automatch.vision.detect.hog_detector import HogDetector
from automatch.vision.detect.yunet_detector import YunetDetector
from automatch.vision.load import check_compatible
from tests.support.embedder import FakeEmbedder
from tests.support.photos import shared_model


class _Arcface(FakeEmbedder):
    model_id = "arcface-like"
    alignment = "arcface"
    chip_side = 112


def test_a_detector_without_a_mouth_is_told_apart_before_anything_runs() -> None:
    hog = HogDetector(640, 0.2)
    check_compatible(FakeEmbedder(), hog)

    with pytest.raises(ModelUnfitError, match=r"models fetch yunet.*VISION__YUNET_FILE"):
        check_compatible(_Arcface(), hog)

    yunet = YunetDetector(shared_model("face_detection_yunet_2023mar.onnx"), 640, 0.8)
    check_compatible(_Arcface(), yunet)
    check_compatible(FakeEmbedder(), yunet)
