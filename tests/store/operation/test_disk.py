"""Which disks are watched, and how full the fullest of them is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import SecretStr

from automatch.settings import Settings
from automatch.store.operation.disk import free_bytes, list_data_folders

_OTHER_DISK = Path("/dev/shm")


@pytest.fixture(autouse=True)
def _room_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell of each disk what it was first: other programs write on it between two looks."""
    look = shutil.disk_usage
    seen: dict[int, object] = {}

    def usage(path: Path) -> object:
        return seen.setdefault(path.stat().st_dev, look(path))

    monkeypatch.setattr(shutil, "disk_usage", usage)


@pytest.fixture
def fuller_and_emptier(tmp_path: Path) -> tuple[Path, Path]:
    """Give folders on two disks, one with less room than the other."""
    if not _OTHER_DISK.is_dir():
        pytest.skip("there is no second disk")
    one, other = sorted((tmp_path, _OTHER_DISK), key=lambda folder: shutil.disk_usage(folder).free)
    if shutil.disk_usage(other).free == shutil.disk_usage(one).free:
        pytest.skip("the two disks have the same room")
    return one, other


def test_fullest_disk_counts(fuller_and_emptier: tuple[Path, Path]) -> None:
    fuller, emptier = fuller_and_emptier

    for folders in ([fuller, emptier], [emptier, fuller]):
        assert free_bytes(folders) == free_bytes([fuller]) < free_bytes([emptier])


def test_links_are_followed(fuller_and_emptier: tuple[Path, Path], tmp_path: Path) -> None:
    fuller, emptier = fuller_and_emptier
    link = tmp_path / "postgres"
    link.symlink_to(fuller)

    assert free_bytes([link]) == free_bytes([fuller])
    assert free_bytes([link, emptier]) < free_bytes([emptier])


def test_missing_folder_is_on_the_disk_of_its_parent(tmp_path: Path) -> None:
    missing = tmp_path / "home" / "photos"

    assert free_bytes([missing]) == free_bytes([tmp_path])


def test_only_the_embedded_postgres_is_checked(tmp_path: Path) -> None:
    embedded = Settings(home=tmp_path, database_url=None)
    elsewhere = Settings(home=tmp_path, database_url=SecretStr("postgresql://db.example.org/x"))

    assert list_data_folders(embedded) == [tmp_path / "photos", tmp_path / "postgres"]
    assert list_data_folders(elsewhere) == [tmp_path / "photos"]
