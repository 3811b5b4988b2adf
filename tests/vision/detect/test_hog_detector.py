"""What a search by dlib's detector does in two halves."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from automatch.vision.detect import hog_detector
from automatch.vision.detect.detector import surest_first
from automatch.vision.detect.hog_detector import HogDetector
from tests.support.photos import astronaut, pixels, shared_portraits, two_people


@pytest.fixture
def detector() -> HogDetector:
    return HogDetector(640, 0.2)


def _second_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("hog")}


def test_a_photo_has_a_second_thread_only_while_no_other_is_searched(
    detector: HogDetector,
) -> None:
    before, photo = _second_threads(), np.asarray(two_people())

    with detector._halves():
        beside_another = detector.find(photo)
    assert _second_threads() <= before

    assert detector.find(photo) == beside_another
    assert len(_second_threads() - before) == 1


def test_both_halves_find_what_one_search_of_all_levels_finds(detector: HogDetector) -> None:
    photos = [np.asarray(astronaut()), *map(pixels, shared_portraits(20))]
    for photo in photos:
        grey = np.asarray(Image.fromarray(photo.astype(np.uint8)).convert("L").resize((320, 320)))
        halves = detector._small_candidates(grey, 0.5) + detector._large_candidates(grey, 0.5)
        whole = hog_detector._run(
            detector._detector(hog_detector._SMALL_CELL, hog_detector._ALL_LEVELS),
            grey,
            hog_detector._MIN_CANDIDATE,
            0.5,
        )

        assert hog_detector._without_overlaps(surest_first(halves)) == whole
