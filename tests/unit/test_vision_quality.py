"""Which photos show one face well enough."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from automatch.errors import FaceQualityLowError, NoFaceError, SeveralFacesError
from automatch.vision.detector import Finding
from automatch.vision.quality import check_quality, choose_face, measure
from automatch.vision.seen import Box
from tests.support.photos import astronaut


def _face(side: int, confidence: float = 1.0) -> Finding:
    return Finding(Box(0, 0, side, side), confidence)


def _chip(blur: float = 0, light: float = 1) -> np.ndarray:
    face = astronaut().crop((148, 28, 298, 178)).filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(face.point(lambda value: value * light))


def test_no_face_is_named() -> None:
    with pytest.raises(NoFaceError):
        choose_face([], 0.2)


def test_two_faces_of_like_size_are_counted() -> None:
    with pytest.raises(SeveralFacesError, match=r"^2 faces") as caught:
        choose_face([_face(100), _face(60, 0.3)], 0.2)

    assert caught.value.count == 2


def test_small_faces_in_the_background_do_not_count() -> None:
    largest = _face(300, 0.6)

    assert choose_face([_face(149, 2.0), largest, _face(40)], 0.2) is largest


def test_a_small_face_is_refused_with_its_size() -> None:
    quality = measure(_face(59), _chip())

    with pytest.raises(FaceQualityLowError, match="59 pixels wide and at least 60"):
        check_quality(quality, 60)

    check_quality(quality, 59)


def test_a_blurred_face_is_refused_with_its_sharpness() -> None:
    quality = measure(_face(200), _chip(blur=4))

    with pytest.raises(FaceQualityLowError) as caught:
        check_quality(quality, 60)

    assert f"its sharpness is {quality['sharpness']:.1f}" in caught.value.message


def test_a_dark_face_is_not_taken_for_a_blurred_one() -> None:
    quality = measure(_face(200), _chip(blur=1, light=0.25))

    check_quality(quality, 60)
    assert quality["brightness"] < 40


def test_sharpness_falls_with_blur() -> None:
    falling = [measure(_face(200), _chip(blur))["sharpness"] for blur in (0, 1, 2, 3)]

    assert falling == sorted(falling, reverse=True)


def test_a_face_without_any_light_is_refused() -> None:
    black = np.asarray(Image.new("RGB", (150, 150)))

    with pytest.raises(FaceQualityLowError):
        check_quality(measure(_face(200), black), 60)
