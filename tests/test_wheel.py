"""What is installed: everything that the product reads at run time, and nothing that is not its."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import httpx2
import pytest

from automatch.demo.portraits import PORTRAITS_PER_GENDER
from tests.support.command import call_command, running_up
from tests.support.patience import patience

_ROOT = Path(__file__).parents[1]


_PORTRAITS = "automatch/demo/portraits/"
_MOST_MIB = 5


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=_ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_file_of_the_package(contents: set[str]) -> None:
    package = _ROOT / "src"
    files = {
        str(path.relative_to(package))
        for path in (package / "automatch").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {
        name for name in files if name.endswith((".sql", ".html", ".css", ".js", ".npz", ".webp"))
    }
    assert files <= contents


def test_wheel_holds_the_drawn_portraits_and_stays_small(wheel: Path, contents: set[str]) -> None:
    portraits = [
        name for name in contents if name.startswith(_PORTRAITS) and name.endswith(".webp")
    ]

    assert len(portraits) == 2 * PORTRAITS_PER_GENDER
    assert wheel.stat().st_size < _MOST_MIB * 1024**2


def test_wheel_holds_no_photo_and_no_test(contents: set[str]) -> None:
    unwanted = (".jpg", ".jpeg", ".webp", ".heic", ".onnx", ".dat")

    names = {name for name in contents if not name.startswith(_PORTRAITS)}
    assert not [name for name in names if name.endswith(unwanted) or "tests/" in name]


def test_unpacked_wheel_does_all_that_the_sources_do(
    wheel: Path, tmp_path: Path, ready_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    where = [sys.executable, "-c", "import automatch; print(automatch.__file__)"]

    imported = subprocess.run(where, capture_output=True, text=True, check=True).stdout
    with running_up(ready_home, is_forked=False) as up:
        page = httpx2.get(f"{up.url}/sign-up", timeout=60)
        with patience():
            verified = call_command(ready_home, "verify", "--url", up.url)

    assert imported.startswith(str(tmp_path / "site"))
    assert page.status_code == 200
    assert verified.returncode == 0, verified.stdout
