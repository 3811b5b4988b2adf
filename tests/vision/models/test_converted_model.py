"""The converted model is kept, used, and made again when it is damaged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from automatch.errors.embedder import ModelDamagedError, ModelMissingError
from automatch.settings import Settings
from automatch.vision import DlibEmbedder
from automatch.vision.load import check_model
from automatch.vision.models import converted_model
from automatch.vision.models.converted_model import converted_folder
from automatch.vision.models.model_files import FACE_RESNET, verified
from automatch.vision.models.registry import shipped

_CHIPS = np.arange(2 * 150 * 150 * 3, dtype=np.uint8).reshape(2, 150, 150, 3)


def _embeddings(data_dir: Path | None, folder: Path | None = None) -> np.ndarray:
    return DlibEmbedder(data_dir=data_dir, folder=folder).embed(_CHIPS)


def _kept(data_dir: Path) -> Path:
    [file] = converted_folder(data_dir).iterdir()
    return file


@pytest.fixture(scope="module")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("filled")
    _embeddings(data_dir)
    return data_dir


@pytest.fixture
def data_dir(_filled: Path, tmp_path: Path) -> Path:
    """A data folder in which the model is kept."""
    return Path(shutil.copytree(_filled, tmp_path / "data"))


def test_the_file_is_closed_to_others_and_names_its_source(data_dir: Path) -> None:
    file = _kept(data_dir)

    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert file.name.startswith(shipped()["dlib"].files[0].sha256)


def test_the_kept_model_gives_the_same_numbers_without_its_source(
    data_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelMissingError):
        _embeddings(None, folder=tmp_path)

    assert np.array_equal(_embeddings(data_dir, folder=tmp_path), _embeddings(None))


@pytest.mark.parametrize("damage", ["one bit", "half", "empty"])
def test_a_damaged_file_is_made_again(damage: str, data_dir: Path) -> None:
    file = _kept(data_dir)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[10_000_000] ^= 1
    file.write_bytes({"one bit": bytes(flipped), "half": whole[: len(whole) // 2]}.get(damage, b""))

    assert np.array_equal(_embeddings(data_dir), _embeddings(None))

    assert _kept(data_dir).read_bytes() == whole


def test_a_file_of_an_older_conversion_is_replaced(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _kept(data_dir)
    monkeypatch.setattr(converted_model, "CONVERSION_VERSION", 1_000)

    _embeddings(data_dir)

    assert _kept(data_dir).name != before.name


def test_what_a_killed_process_left_is_removed_in_time(data_dir: Path) -> None:
    _kept(data_dir).unlink()
    old, new = (converted_folder(data_dir) / f".{name}.partial" for name in ("old", "new"))
    for partial in (old, new):
        partial.write_bytes(b"half")
    os.utime(old, (0, 0))

    _embeddings(data_dir)

    assert new.exists()
    assert not old.exists()


@pytest.mark.parametrize("data_dir", [None, Path("/nowhere"), Path("/proc")])
def test_nothing_is_kept_where_there_is_no_data_folder(data_dir: Path | None) -> None:
    assert np.array_equal(_embeddings(data_dir), _embeddings(None))


def test_checking_the_model_writes_nothing(tmp_path: Path) -> None:
    check_model(shipped()["dlib"], Settings(home=tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_the_source_is_checked_before_it_is_converted(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    damaged = bytearray(verified(FACE_RESNET).read_bytes())
    damaged[10_000_000] ^= 1
    (source / FACE_RESNET).write_bytes(damaged)

    with pytest.raises(ModelDamagedError):
        _embeddings(tmp_path, folder=source)

    assert not converted_folder(tmp_path).exists()
