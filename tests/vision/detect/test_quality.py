"""Which photos show one face well enough."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from automatch.errors.photo import (
    FaceBlurredError,
    FaceCutOffError,
    FaceLowConfidenceError,
    FaceTooBrightError,
    FaceTooDarkError,
    FaceTooSmallError,
    FaceTurnedError,
    FaceUnclearError,
    NoFaceError,
    SeveralFacesError,
)
from automatch.model.faces import FaceBox
from automatch.settings.vision import VisionSettings
from automatch.vision.detect.detector import AlignedFace, Detection
from automatch.vision.detect.quality import check_quality, choose_face, measure
from automatch.vision.results import Box
from tests.support.photos import astronaut

_PHOTO = np.zeros((400, 800, 3), np.uint8)
_LIMITS = VisionSettings()
_GOOD = {
    "face_side_px": 200.0,
    "sharpness": 100.0,
    "brightness": 120.0,
    "contrast": 90.0,
    "confidence": 2.0,
    "yaw_degrees": 3.0,
    "inside": 1.0,
}


def _face(side: int, confidence: float = 1.0) -> Detection:
    return Detection(Box(0, 0, side, side), confidence)


def _aligned(blur: float = 0, light: float = 1) -> AlignedFace:
    face = astronaut().crop((148, 28, 298, 178)).filter(ImageFilter.GaussianBlur(blur))
    chip = np.asarray(face.point(lambda value: value * light))
    return AlignedFace(chip, landmarks=(), yaw_degrees=3.21, inside=0.98765)


def test_no_face_is_named() -> None:
    with pytest.raises(NoFaceError):
        choose_face([], 0.2, _PHOTO)


def test_two_faces_that_could_be_used_are_counted() -> None:
    with pytest.raises(SeveralFacesError, match=r"^2 faces") as caught:
        choose_face([_face(400), _face(60, 0.3)], 0.2, _PHOTO, min_side=60)

    assert caught.value.count == 2


def test_several_faces_are_boxed_in_shares_of_the_photo_the_largest_first() -> None:
    small = Detection(Box(600, 100, 800, 300), 2.0)
    large = Detection(Box(-40, 0, 360, 400), 1.0)

    with pytest.raises(SeveralFacesError) as caught:
        choose_face([small, large, _face(30)], 0.2, _PHOTO, min_side=60)

    assert caught.value.boxes == ((-0.05, 0.0, 0.45, 1.0), (0.75, 0.25, 1.0, 0.75))


def test_faces_too_small_to_be_used_do_not_count() -> None:
    largest = _face(300, 0.6)

    assert choose_face([_face(59, 2.0), largest, _face(40)], 0.2, _PHOTO, min_side=60) is largest


def test_of_faces_too_small_to_be_used_the_largest_is_judged() -> None:
    largest = _face(50, 0.6)

    assert choose_face([_face(40, 2.0), largest], 0.2, _PHOTO, min_side=60) is largest


_CROWD = [
    Detection(Box(0, 0, 200, 200), 3.0),
    Detection(Box(300, 50, 400, 150), 0.15),
    Detection(Box(600, 100, 700, 200), 1.0),
]


def test_the_chosen_face_is_taken_whatever_its_size() -> None:
    # A little beside it, as the detector finds it in another copy.
    chosen = FaceBox.of_corners(610 / 800, 95 / 400, 705 / 800, 195 / 400)

    assert choose_face(_CROWD, 0.2, _PHOTO, chosen) is _CROWD[2]


def test_a_chosen_face_that_can_only_be_guessed_is_refused() -> None:
    chosen = FaceBox.of_corners(300 / 800, 50 / 400, 400 / 800, 150 / 400)

    with pytest.raises(FaceLowConfidenceError, match=r"scores 0\.15"):
        choose_face(_CROWD, 0.2, _PHOTO, chosen)


def test_a_chosen_face_that_is_not_found_again_asks_again() -> None:
    elsewhere = FaceBox.of_corners(0.5, 0.8, 0.6, 1)

    with pytest.raises(SeveralFacesError):
        choose_face([_CROWD[0], _CROWD[2]], 0.2, _PHOTO, elsewhere)


def test_nobody_else_is_taken_for_the_chosen_face() -> None:
    elsewhere = FaceBox.of_corners(0.5, 0.8, 0.6, 1)

    with pytest.raises(NoFaceError, match="face that you chose"):
        choose_face(_CROWD[:1], 0.2, _PHOTO, elsewhere)


def test_a_face_that_can_only_be_guessed_is_refused_with_its_score() -> None:
    with pytest.raises(FaceLowConfidenceError, match=r"scores 0\.15 and at least 0\.2") as caught:
        choose_face([_face(100, 0.151), _face(90, 0.12)], 0.2, _PHOTO)

    assert (caught.value.measured, caught.value.limit) == (0.151, 0.2)


def test_a_guess_beside_a_face_does_not_count() -> None:
    sure = _face(100, 0.5)

    assert choose_face([sure, _face(100, 0.19)], 0.2, _PHOTO) is sure


@pytest.mark.parametrize(
    ("figure", "value", "error", "words"),
    [
        ("face_side_px", 59.0, FaceTooSmallError, "only 59 pixels wide and at least 60 are"),
        ("sharpness", 4.94, FaceBlurredError, "its sharpness is 4.9 and at least 5 is"),
        ("brightness", 231.2, FaceTooBrightError, "its brightness is 231 of 255 and at most 225"),
        ("yaw_degrees", 31.4, FaceTurnedError, "by about 31 degrees and at most 30 are"),
        ("inside", 0.62, FaceCutOffError, "only 62% of the face .* at least 70% are"),
    ],
)
def test_each_figure_has_its_own_reason_with_its_number(
    figure: str, value: float, error: type[FaceUnclearError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        check_quality(_GOOD | {figure: value}, _LIMITS)

    assert caught.value.measured == value
    assert caught.value.limit is not None
    assert not caught.value.transient


def test_a_face_without_enough_light_is_refused_with_its_contrast() -> None:
    with pytest.raises(FaceTooDarkError, match=r"only 19 of 255 apart and at least 20") as caught:
        check_quality(_GOOD | {"brightness": 20.0, "contrast": 19.4}, _LIMITS)

    assert (caught.value.measured, caught.value.limit) == (19.4, 20)
    check_quality(_GOOD | {"brightness": 20.0, "contrast": 20.0}, _LIMITS)


@pytest.mark.parametrize("figures", [{"contrast": 10.0}, {"brightness": 10.0}])
def test_neither_a_pale_nor_a_dark_face_is_short_of_light_by_that_alone(
    figures: dict[str, float],
) -> None:
    check_quality(_GOOD | figures, _LIMITS)


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("face_side_px", 60.0),
        ("sharpness", 5.0),
        ("brightness", 225.0),
        ("yaw_degrees", 30.0),
        ("inside", 0.7),
    ],
)
def test_a_face_on_the_edge_of_a_limit_passes(figure: str, value: float) -> None:
    check_quality(_GOOD | {figure: value}, _LIMITS)


def test_limits_are_settings() -> None:
    strict = VisionSettings(
        min_face_side=300, min_sharpness=200, max_brightness=110, max_yaw_degrees=2, min_inside=1
    )
    for figure, error in {
        "face_side_px": FaceTooSmallError,
        "sharpness": FaceBlurredError,
        "brightness": FaceTooBrightError,
        "yaw_degrees": FaceTurnedError,
    }.items():
        passing = {"face_side_px": 400.0, "sharpness": 300.0, "brightness": 100.0}
        with pytest.raises(error):
            check_quality(_GOOD | passing | {"yaw_degrees": 1.0} | {figure: _GOOD[figure]}, strict)


def test_what_hides_the_rest_is_told_first() -> None:
    dark = {"brightness": 1.0, "contrast": 1.0, "sharpness": 0.0}
    nothing_right = {"face_side_px": 10.0, "inside": 0.1} | dark

    with pytest.raises(FaceTooSmallError):
        check_quality(_GOOD | nothing_right, _LIMITS)
    with pytest.raises(FaceTooDarkError):
        check_quality(_GOOD | dark, _LIMITS)


def test_every_figure_is_measured() -> None:
    quality = measure(_face(200, 1.23456), _aligned())

    assert set(quality) == set(_GOOD)
    assert quality["face_side_px"] == 200
    assert quality["confidence"] == 1.235
    assert quality["yaw_degrees"] == 3.2
    assert quality["inside"] == 0.988
    check_quality(quality, _LIMITS)


def test_a_blurred_face_is_refused() -> None:
    with pytest.raises(FaceBlurredError):
        check_quality(measure(_face(200), _aligned(blur=4)), _LIMITS)


def test_a_dark_face_is_not_taken_for_a_blurred_one() -> None:
    quality = measure(_face(200), _aligned(blur=1, light=0.25))

    check_quality(quality, _LIMITS)
    assert quality["brightness"] < 50


def test_sharpness_falls_with_blur() -> None:
    falling = [measure(_face(200), _aligned(blur))["sharpness"] for blur in (0, 1, 2, 3)]

    assert falling == sorted(falling, reverse=True)


def test_brightness_is_that_of_the_face_and_not_of_what_is_around() -> None:
    chip = np.zeros((150, 150, 3), np.uint8)
    chip[30:125, 30:125] = 180

    assert measure(_face(200), AlignedFace(chip, (), 0, 1))["brightness"] == pytest.approx(180)


@pytest.mark.parametrize(
    ("shade", "error"), [("black", FaceTooDarkError), ("white", FaceTooBrightError)]
)
def test_a_face_without_any_contrast_is_refused_for_its_light(
    shade: str, error: type[FaceUnclearError]
) -> None:
    chip = np.asarray(Image.new("RGB", (150, 150), shade))

    with pytest.raises(error):
        check_quality(measure(_face(200), AlignedFace(chip, (), 0, 1)), _LIMITS)
