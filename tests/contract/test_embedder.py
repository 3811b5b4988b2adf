"""What every embedder promises, run on each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from automatch.vision import DlibEmbedder, Embedder
from automatch.vision.embedder import to_unit_rows
from automatch.vision.hog_detector import HogDetector
from tests.support.dlib_inference import DlibInference
from tests.support.embedder import FakeEmbedder
from tests.support.photos import astronaut, hopper, pixels, shared_photo, shared_portraits

if TYPE_CHECKING:
    import numpy.typing as npt

_EMBEDDERS: dict[str, Embedder] = {"fake": FakeEmbedder(), "dlib": DlibEmbedder()}


@pytest.fixture(params=_EMBEDDERS)
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return _EMBEDDERS[request.param]


@pytest.fixture(scope="module")
def detector() -> HogDetector:
    return HogDetector(640, 0.2)


@pytest.fixture(scope="module")
def chips(detector: HogDetector) -> npt.NDArray[np.uint8]:
    """The chips of two people."""
    photos = (np.asarray(astronaut()), np.asarray(hopper()))
    return np.stack([_chip(detector, photo) for photo in photos])


def _chip(detector: HogDetector, photo: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return detector.align(photo, detector.find(photo)[0]).chip


def _distance(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    return float(np.linalg.norm(a - b))


def test_embeddings_are_float32_rows_of_length_1(
    embedder: Embedder, chips: npt.NDArray[np.uint8]
) -> None:
    rows = embedder.embed(chips)

    assert rows.shape == (2, embedder.dimensions)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1], abs=1e-6)


def test_the_same_chip_always_gives_the_same_embedding(
    embedder: Embedder, chips: npt.NDArray[np.uint8]
) -> None:
    assert np.array_equal(embedder.embed(chips), embedder.embed(chips.copy()))


def test_a_batch_equals_its_chips_one_by_one(
    embedder: Embedder, chips: npt.NDArray[np.uint8]
) -> None:
    one_by_one = np.concatenate([embedder.embed(chip[np.newaxis]) for chip in chips[::-1]])

    assert np.allclose(embedder.embed(chips[::-1]), one_by_one, atol=1e-6)


def test_no_chips_give_no_rows(embedder: Embedder) -> None:
    rows = embedder.embed(np.empty((0, 150, 150, 3), np.uint8))

    assert rows.shape == (0, embedder.dimensions)
    assert rows.dtype == np.float32


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((150, 150, 3), np.uint8),
        ((1, 112, 112, 3), np.uint8),
        ((1, 150, 150), np.uint8),
        ((1, 3, 150, 150), np.uint8),
        ((1, 150, 150, 3), np.float32),
    ],
)
def test_anything_but_chips_is_a_value_error(
    embedder: Embedder, shape: tuple[int, ...], dtype: type
) -> None:
    with pytest.raises(ValueError, match="chips must be uint8"):
        embedder.embed(np.zeros(shape, dtype))


def test_different_chips_give_different_embeddings(
    embedder: Embedder, chips: npt.NDArray[np.uint8]
) -> None:
    first, second = embedder.embed(chips)

    assert _distance(first, second) > 0.3


def test_model_ids_differ() -> None:
    assert len({embedder.model_id for embedder in _EMBEDDERS.values()}) == len(_EMBEDDERS)


def test_dlib_puts_two_photos_of_one_person_closer_than_any_strangers(
    detector: HogDetector, chips: npt.NDArray[np.uint8]
) -> None:
    names = ("obama_1.jpg", "obama_2.jpg", "biden_1.jpg", "biden_2.jpg")
    photos = [pixels(shared_photo(name)).astype(np.uint8) for name in names]
    people = np.stack([*(_chip(detector, photo) for photo in photos), *chips])

    rows = _EMBEDDERS["dlib"].embed(people)

    same = {(0, 1), (2, 3)}
    pairs = [(a, b) for a in range(len(rows)) for b in range(a + 1, len(rows))]
    strangers = [_distance(rows[a], rows[b]) for a, b in pairs if (a, b) not in same]
    # 0.385 is the bound up to which two photos count as one person's.
    assert max(_distance(rows[a], rows[b]) for a, b in same) < 0.385
    assert min(strangers) > 0.385


def test_dlib_model_gives_what_dlib_itself_gives(chips: npt.NDArray[np.uint8]) -> None:
    expected = to_unit_rows(DlibInference().raw(chips))

    assert np.abs(_EMBEDDERS["dlib"].embed(chips) - expected).max() < 1e-5


def test_dlib_model_gives_what_dlib_itself_gives_on_many_faces(detector: HogDetector) -> None:
    photos = [pixels(photo).astype(np.uint8) for photo in shared_portraits(20)]
    many = np.stack([_chip(detector, photo) for photo in photos])

    expected = to_unit_rows(DlibInference().raw(many))

    assert np.abs(_EMBEDDERS["dlib"].embed(many) - expected).max() < 1e-5


def test_more_chips_than_fit_into_one_run_keep_their_order(chips: npt.NDArray[np.uint8]) -> None:
    both = _EMBEDDERS["dlib"].embed(chips)

    rows = _EMBEDDERS["dlib"].embed(np.concatenate([chips] * 33))

    assert np.allclose(rows, np.concatenate([both] * 33), atol=1e-6)
