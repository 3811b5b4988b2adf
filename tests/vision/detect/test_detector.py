"""What every detector promises, run on each of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageOps

from automatch.vision import DlibEmbedder
from automatch.vision.detect.hog_detector import HogDetector
from automatch.vision.detect.yunet_detector import YunetDetector
from automatch.vision.models.model_files import YUNET
from tests.support.photo_cases import dimmed
from tests.support.photos import (
    astronaut,
    encode,
    hopper,
    pixels,
    scene_without_face,
    shared_model,
    shared_photo,
    shared_portraits,
    two_people,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from automatch.vision.detect.detector import Detection, Detector

_SAME_PERSON = 0.385
"""Embeddings up to this far apart count as one person's."""


@pytest.fixture(scope="module", params=["hog", "yunet"])
def detector(request: pytest.FixtureRequest) -> Detector:
    if request.param == "hog":
        return HogDetector(640, 0.2)
    return YunetDetector(shared_model(YUNET), 640, 0.8)


@pytest.fixture(scope="module")
def embedder() -> DlibEmbedder:
    return DlibEmbedder()


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(image.convert("RGB"))


def _sure(detector: Detector, image: Image.Image) -> list[Detection]:
    found = detector.find(_pixels(image))
    return [detection for detection in found if detection.confidence >= detector.min_confidence]


def _embedding(
    detector: Detector, embedder: DlibEmbedder, photo: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    chip = detector.align(photo, detector.find(photo)[0]).chip
    row: npt.NDArray[np.float32] = embedder.embed(chip[np.newaxis])[0]
    return row


def test_a_face_is_found_where_it_is(detector: Detector) -> None:
    (found,) = _sure(detector, astronaut())

    assert 160 < found.box.left < 200
    assert 260 < found.box.right < 300
    assert 40 < found.box.top < 100
    assert 150 < found.box.bottom < 200


def test_a_mirrored_photo_has_as_many_faces(detector: Detector) -> None:
    # In small cells of the detector of gradients the suit has a second one.
    photo = ImageOps.mirror(astronaut())
    assert len(_sure(detector, photo)) == 1

    large = _pixels(photo.resize((1600, 1600)))
    found = detector.find_all(large, 80)
    assert len([face for face in found if face.confidence >= detector.min_confidence]) == 1


def test_a_photo_without_a_face_gives_none(detector: Detector) -> None:
    assert _sure(detector, scene_without_face(600)) == []


def test_two_people_give_two_faces_the_surest_first(detector: Detector) -> None:
    found = _sure(detector, two_people())

    assert len(found) == 2
    assert found[0].confidence >= found[1].confidence
    assert {detection.box.left < 500 for detection in found} == {True, False}


@pytest.mark.parametrize("size", [(160, 200), (240, 201), (1600, 1600), (1200, 1600)])
def test_boxes_are_in_pixels_of_the_photo_whatever_its_size(
    size: tuple[int, int], detector: Detector
) -> None:
    width, height = size
    (found,) = _sure(detector, astronaut().resize(size))

    assert 0.3 < found.box.left / width < 0.4
    assert 0.5 < found.box.right / width < 0.6
    assert 0.08 < found.box.top / height < 0.2
    assert 0.3 < found.box.bottom / height < 0.4


def test_others_beside_a_large_face_are_found_down_to_the_size_asked_for(
    detector: Detector,
) -> None:
    page = Image.new("RGB", (1600, 1200), "grey")
    page.paste(astronaut().resize((1024, 1024)))
    # Its face is 203 pixels wide.
    friend = hopper().resize((round(512 * 60 / 203), round(600 * 60 / 203)))
    page.paste(friend, (1300, 900))

    found = [
        face
        for face in detector.find_all(_pixels(page), 60)
        if face.box.left > 1024 and face.confidence >= detector.min_confidence
    ]

    assert len(found) == 1
    assert 1330 < found[0].box.left < 1360
    assert 920 < found[0].box.top < 950
    assert 55 <= found[0].side < 80


def test_a_face_in_a_twentieth_of_the_light_is_found(detector: Detector) -> None:
    photo = encode(dimmed(hopper(), 0.05), quality=90)

    (found,) = _sure(detector, Image.fromarray(pixels(photo).astype(np.uint8)))

    assert 160 < found.box.left < 190


def test_the_chip_shows_the_face_upright_and_whole(detector: Detector) -> None:
    photo = _pixels(astronaut())

    aligned = detector.align(photo, detector.find(photo)[0])

    assert aligned.chip.shape == (150, 150, 3)
    assert aligned.chip.dtype == np.uint8
    assert len(aligned.landmarks) == 5
    assert all(160 < x < 300 and 50 < y < 200 for x, y in aligned.landmarks)
    assert aligned.inside == 1
    assert abs(aligned.yaw_degrees) < 25


@pytest.mark.parametrize("angle", [-20, 20])
def test_a_tilted_head_gives_the_face_of_the_upright_one(
    angle: int, detector: Detector, embedder: DlibEmbedder
) -> None:
    upright = _embedding(detector, embedder, _pixels(hopper()))
    tilted = hopper().rotate(angle, Image.Resampling.BICUBIC, fillcolor="grey")

    assert np.linalg.norm(upright - _embedding(detector, embedder, _pixels(tilted))) < 0.22


def test_the_share_inside_falls_as_the_photo_ends_in_the_face(detector: Detector) -> None:
    whole = _pixels(astronaut())
    inside = []
    for left in (0, 190, 205):
        photo = np.ascontiguousarray(whole[:, left:])
        found = detector.find(photo) or detector.find_small(photo)
        inside.append(detector.align(photo, found[0]).inside)

    assert inside[0] == 1
    assert inside[0] > inside[1] > inside[2]
    assert inside[2] > 0.5


def test_photos_seen_side_by_side_do_not_mix(detector: Detector) -> None:
    photos = [_pixels(astronaut()), _pixels(hopper()), _pixels(two_people())]
    alone = [detector.find(photo) for photo in photos]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detector.find, photos * 8))

    assert together == alone * 8


@pytest.mark.parametrize("shade", [0, 127, 255])
def test_a_page_of_one_colour_has_no_face(shade: int, detector: Detector) -> None:
    assert detector.find(np.full((160, 640, 3), shade, np.uint8)) == []


def test_noise_is_no_face(detector: Detector) -> None:
    noise = np.random.default_rng(4).integers(0, 256, (400, 300, 3), np.uint8)

    assert _sure(detector, Image.fromarray(noise)) == []


def test_every_real_portrait_has_one_face(detector: Detector) -> None:
    for photo in shared_portraits(40):
        assert len(_sure(detector, Image.fromarray(pixels(photo).astype(np.uint8)))) == 1


def test_faces_of_yunet_agree_with_those_of_the_default_detector(embedder: DlibEmbedder) -> None:
    default, yunet = HogDetector(640, 0.2), YunetDetector(shared_model(YUNET), 640, 0.8)
    for photo in (pixels(photo).astype(np.uint8) for photo in shared_portraits(20)):
        expected = _embedding(default, embedder, photo)

        assert np.linalg.norm(expected - _embedding(yunet, embedder, photo)) < 0.25


def test_people_are_told_apart(detector: Detector, embedder: DlibEmbedder) -> None:
    names = ("obama_1", "obama_3", "biden_1", "biden_2", "lacamoire_1", "lacamoire_2")
    photos = [pixels(shared_photo(f"{name}.jpg")).astype(np.uint8) for name in names]
    rows = [_embedding(detector, embedder, photo) for photo in photos]

    for a in range(6):
        for b in range(a):
            same = names[a][:-1] == names[b][:-1]
            assert (np.linalg.norm(rows[a] - rows[b]) < _SAME_PERSON) == same
