"""The registry of models: what it knows, and what it takes for an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from automatch.errors.configuration import ModelsFileError
from automatch.errors.embedder import ModelUnfitError, ModelUnknownError
from automatch.vision.load import open_embedder
from automatch.vision.models.model_files import path_of
from automatch.vision.models.registry import find_entry, is_safe_address, load_registry, shipped
from tests.support.photos import shared_model

if TYPE_CHECKING:
    from pathlib import Path

_WHOLE = """
[mine]
purpose = "embedder"
runs_as = "onnx"
dimensions = 512
alignment = "arcface"
input = { side = 112 }
licence = { name = "MIT" }
scale = { midpoint = 1.2, width = 0.05, same_person_u = 1.0 }
files = [ { name = "mine.onnx", sha256 = "SHA", bytes = 9, url = "https://example.org/v1/m" } ]
""".replace("SHA", "0" * 64)


def _own(home: Path, text: str) -> None:
    (home / "models.toml").write_text(text)


def test_what_is_shipped_is_whole() -> None:
    entries = shipped()

    assert list(entries) == ["dlib", "yunet", "sface", "arcface"]
    assert {name: entry.dimensions for name, entry in entries.items()} == {
        "dlib": 128,
        "yunet": None,
        "sface": 128,
        "arcface": 512,
    }
    assert entries["arcface"].licence.forbids_commercial_use
    assert not entries["sface"].licence.forbids_commercial_use
    for entry in entries.values():
        for file in entry.files:
            assert file.url is None or "966be4cb6eefc2a4f586ed0581bf4bbaa2533070" in file.url


def test_the_files_of_the_package_have_the_sizes_that_are_told(tmp_path: Path) -> None:
    entry = shipped()["dlib"]

    assert [path_of(entry, file, tmp_path).stat().st_size for file in entry.files] == [
        file.bytes for file in entry.files
    ]


def test_yunet_has_the_size_that_is_told() -> None:
    (file,) = shipped()["yunet"].files

    assert shared_model(file.name).stat().st_size == file.bytes


def test_the_operators_entries_come_on_top(tmp_path: Path) -> None:
    _own(tmp_path, _WHOLE)

    registry = load_registry(tmp_path)

    assert list(registry) == [*shipped(), "mine"]
    assert find_entry(registry, "mine").files[0].bytes == 9


def test_without_a_file_of_their_own_there_is_what_is_shipped(tmp_path: Path) -> None:
    assert load_registry(tmp_path) == shipped()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[mine]", "[sface]", "a model sface already"),
        ("[mine]", '["../mine"]', "should match pattern"),
        ("[mine]", "mine = 3 #", "mine is no table"),
        ("[mine]", "[mine", "cannot be read"),
        ('sha256 = "', 'sha256 = "x', "sha256: String should match"),
        (', sha256 = "', ', sha512 = "', "files.0.sha256: Field required"),
        ("https:", "http:", "must begin with https"),
        ("https:", "file:", "must begin with https"),
        ("/v1/", "/main/", "names a branch"),
        ("/v1/", "/releases/latest/", "names a branch"),
        ('name = "mine.onnx"', 'name = "../../etc/mine"', "files.0.name"),
        ("dimensions = 512", "", "it lacks dimensions"),
        ("input = { side = 112 }", "", "it lacks input"),
        ("width = 0.05", "width = 0", "greater than 0"),
        ("dimensions = 512", "dimensions = 512\ncolour = 1", "colour: Extra inputs"),
        ('"embedder"', '"detector"', "it lacks landmarks"),
    ],
)
def test_a_mistake_names_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in _WHOLE
    _own(tmp_path, _WHOLE.replace(old, new, 1))

    with pytest.raises(ModelsFileError, match=message) as caught:
        load_registry(tmp_path)

    assert str(tmp_path / "models.toml") in caught.value.message


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://example.org/x", True),
        ("http://127.0.0.1:8000/x", True),
        ("http://[::1]/x", True),
        ("http://localhost/x", True),
        ("http://example.org/x", False),
        ("http://127.0.0.1.example.org/x", False),
        ("http://localhost@example.org/x", False),
        ("ftp://127.0.0.1/x", False),
        ("https:///x", False),
        ("", False),
    ],
)
def test_only_https_is_safe_and_this_very_machine(url: str, safe: bool) -> None:
    assert is_safe_address(url) == safe


def test_a_name_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ModelUnknownError, match="no model nobody; there are dlib, yunet, sface"):
        open_embedder("nobody", tmp_path)
    with pytest.raises(ModelUnfitError, match="finds faces"):
        open_embedder("yunet", tmp_path)
