"""What every embedder promises, run on each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from automatch.errors.embedder import EmbeddingInvalidError, ModelDamagedError, ModelMissingError
from automatch.vision import DlibEmbedder, Embedder
from automatch.vision.detect.hog_detector import HogDetector
from automatch.vision.embed.embedder import to_unit_rows
from automatch.vision.load import open_embedder
from automatch.vision.models.onnx_model import open_session
from automatch.vision.models.onnx_writer import bytes_field, text_field
from tests.support.dlib_inference import DlibInference
from tests.support.embedder import FakeEmbedder
from tests.support.onnx_models import add_model, tiny_model
from tests.support.photos import astronaut, hopper, pixels, shared_photo, shared_portraits

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

_EMBEDDERS: dict[str, Embedder] = {"fake": FakeEmbedder(), "dlib": DlibEmbedder()}
_TINY = {
    # Of the shapes of SFace (its file fixes one picture a run), of an ArcFace-type model, and of
    # one that takes dlib's chips.
    "sface-like": {"dimensions": 128, "side": 112, "batch": 1, "alignment": "arcface"},
    "arcface-like": {"dimensions": 512, "side": 112, "batch": "n", "alignment": "arcface"},
    "dlib-like": {"dimensions": 32, "side": 150, "batch": "n", "alignment": "dlib"},
}


@pytest.fixture(scope="module")
def embedders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Embedder]:
    home = tmp_path_factory.mktemp("home")
    for name, entry in _TINY.items():
        model = tiny_model(entry["dimensions"], side=entry["side"], batch=entry["batch"])
        fields = {field: entry[field] for field in ("side", "alignment")}
        add_model(home, name, model, dimensions=entry["dimensions"], **fields)
    return _EMBEDDERS | {name: open_embedder(name, home) for name in _TINY}


@pytest.fixture(params=[*_EMBEDDERS, *_TINY])
def embedder(request: pytest.FixtureRequest, embedders: dict[str, Embedder]) -> Embedder:
    return embedders[request.param]


@pytest.fixture(scope="module")
def detector() -> HogDetector:
    return HogDetector(640, 0.2)


@pytest.fixture(scope="module")
def of_dlib(detector: HogDetector) -> npt.NDArray[np.uint8]:
    """The chips of two people, as dlib cuts them."""
    photos = (np.asarray(astronaut()), np.asarray(hopper()))
    return np.stack([_chip(detector, photo) for photo in photos])


@pytest.fixture
def chips(embedder: Embedder, of_dlib: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The same of the size that the embedder takes."""
    side = embedder.chip_side
    return np.stack([np.asarray(Image.fromarray(chip).resize((side, side))) for chip in of_dlib])


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
    rows = embedder.embed(np.empty((0, embedder.chip_side, embedder.chip_side, 3), np.uint8))

    assert rows.shape == (0, embedder.dimensions)
    assert rows.dtype == np.float32


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((0, 0, 3), np.uint8),
        ((1, 1, 1, 3), np.uint8),
        ((1, 0, 0), np.uint8),
        ((1, 3, 0, 0), np.uint8),
        ((1, 0, 0, 3), np.float32),
    ],
)
def test_anything_but_chips_is_a_value_error(
    embedder: Embedder, shape: tuple[int, ...], dtype: type
) -> None:
    # 0 stands for the side of a chip.
    sides = [side or embedder.chip_side for side in shape]

    with pytest.raises(ValueError, match="chips must be uint8"):
        embedder.embed(np.zeros(sides, dtype))


def test_different_chips_give_different_embeddings(
    embedder: Embedder, chips: npt.NDArray[np.uint8]
) -> None:
    first, second = embedder.embed(chips)

    assert _distance(first, second) > 0.3


def test_model_ids_differ(embedders: dict[str, Embedder]) -> None:
    assert len({embedder.model_id for embedder in embedders.values()}) == len(embedders)


def test_dlib_puts_two_photos_of_one_person_closer_than_any_strangers(
    detector: HogDetector, of_dlib: npt.NDArray[np.uint8]
) -> None:
    names = ("obama_1.jpg", "obama_2.jpg", "biden_1.jpg", "biden_2.jpg")
    photos = [pixels(shared_photo(name)).astype(np.uint8) for name in names]
    people = np.stack([*(_chip(detector, photo) for photo in photos), *of_dlib])

    rows = _EMBEDDERS["dlib"].embed(people)

    same = {(0, 1), (2, 3)}
    pairs = [(a, b) for a in range(len(rows)) for b in range(a + 1, len(rows))]
    strangers = [_distance(rows[a], rows[b]) for a, b in pairs if (a, b) not in same]
    # 0.385 is the bound up to which two photos count as one person's.
    assert max(_distance(rows[a], rows[b]) for a, b in same) < 0.385
    assert min(strangers) > 0.385


def test_dlib_model_gives_what_dlib_itself_gives(of_dlib: npt.NDArray[np.uint8]) -> None:
    expected = to_unit_rows(DlibInference().raw(of_dlib))

    assert np.abs(_EMBEDDERS["dlib"].embed(of_dlib) - expected).max() < 1e-5


def test_dlib_model_gives_what_dlib_itself_gives_on_many_faces(detector: HogDetector) -> None:
    photos = [pixels(photo).astype(np.uint8) for photo in shared_portraits(8)]
    many = np.stack([_chip(detector, photo) for photo in photos])

    expected = to_unit_rows(DlibInference().raw(many))

    assert np.abs(_EMBEDDERS["dlib"].embed(many) - expected).max() < 1e-5


def test_more_chips_than_fit_into_one_run_keep_their_order(of_dlib: npt.NDArray[np.uint8]) -> None:
    both = _EMBEDDERS["dlib"].embed(of_dlib)

    rows = _EMBEDDERS["dlib"].embed(np.concatenate([of_dlib] * 33))

    assert np.allclose(rows, np.concatenate([both] * 33), atol=1e-6)


def _tiny(home: Path, model: bytes, **fields: object) -> Embedder:
    add_model(home, "tiny", model, dimensions=16, **fields)
    return open_embedder("tiny", home)


_GREY = np.full((3, 150, 150, 3), 128, np.uint8)


def test_colours_are_scaled_and_in_the_order_that_the_entry_says(
    tmp_path: Path, of_dlib: npt.NDArray[np.uint8]
) -> None:
    model = tiny_model(16, side=150)
    rgb = _tiny(tmp_path, model)
    bgr = open_embedder_of(tmp_path / "bgr", model, 'colours = "bgr", ')
    raw = open_embedder_of(tmp_path / "raw", model, "", scaled=False)
    session = open_session(model)

    def by_hand(pictures: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        data = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32)
        return to_unit_rows(session.run(None, {"data": data})[0])

    floats = of_dlib.astype(np.float64)
    assert np.allclose(rgb.embed(of_dlib), by_hand((floats - 127.5) / 127.5), atol=1e-5)
    assert np.allclose(bgr.embed(of_dlib), by_hand((floats[..., ::-1] - 127.5) / 127.5), atol=1e-5)
    assert np.allclose(raw.embed(of_dlib), by_hand(floats), atol=1e-5)


def open_embedder_of(home: Path, model: bytes, colours: str, *, scaled: bool = True) -> Embedder:
    add_model(home, "tiny", model, dimensions=16)
    registry = home / "models.toml"
    text = registry.read_text().replace("side = 150", f"{colours}side = 150")
    if not scaled:
        text = text.replace(", subtract = 127.5, divide = 127.5", "")
    registry.write_text(text)
    return open_embedder("tiny", home)


def test_a_model_that_gives_other_rows_than_its_entry_says_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingInvalidError):
        _tiny(tmp_path, tiny_model(16, side=150, outputs=17)).embed(_GREY)


def test_a_model_that_gives_nothing_for_a_face_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingInvalidError):
        _tiny(tmp_path, tiny_model(16, side=150, bias=0)).embed(_GREY)


def test_a_file_that_is_missing_damaged_or_no_model_says_what_to_do(tmp_path: Path) -> None:
    embedder = _tiny(tmp_path, b"no model")
    path = tmp_path / "models" / "tiny.onnx"
    with pytest.raises(ModelDamagedError):
        embedder.embed(_GREY)
    path.write_bytes(b"damaged!")
    with pytest.raises(ModelDamagedError, match="models fetch tiny"):
        embedder.embed(_GREY)
    path.unlink()
    with pytest.raises(ModelMissingError, match="models fetch tiny"):
        embedder.embed(_GREY)


def test_a_model_that_reaches_for_other_files_is_not_opened(tmp_path: Path) -> None:
    outside = bytes_field(13, text_field(1, "location") + text_field(2, "passwd"))
    model = bytes_field(7, bytes_field(5, outside))

    with pytest.raises(ModelDamagedError, match="in one file"):
        _tiny(tmp_path, model).embed(_GREY)
