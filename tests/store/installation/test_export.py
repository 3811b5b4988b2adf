"""`automatch db export`: our files beside the operator's own, and nothing of theirs touched."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from automatch.store.installation.migrate import MIGRATIONS
from tests.support.command import call_command

OURS = sorted(path.name for path in MIGRATIONS.glob("*.sql"))


def export(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call_command(tmp_path / "home", "db", "export", *arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with one migration of the operator's."""
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20260101000000_their_own.sql").write_text("create table theirs ();\n")
    return folder


def test_files_are_written_once_and_listed(tmp_path: Path, folder: Path) -> None:
    first, second = export(tmp_path, str(folder)), export(tmp_path, str(folder))

    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stdout.splitlines() == [str(folder / name) for name in OURS]
    assert second.stdout == ""
    assert "has all migrations" in second.stderr
    for name in OURS:
        assert (folder / name).read_bytes() == (MIGRATIONS / name).read_bytes()
    assert (folder / "20260101000000_their_own.sql").read_text() == "create table theirs ();\n"


def test_folder_is_created_and_is_supabase_migrations_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert export(tmp_path).returncode == 0

    assert sorted(path.name for path in Path("supabase/migrations").iterdir()) == OURS


def test_check_writes_nothing_and_fails_while_a_file_is_missing(
    tmp_path: Path, folder: Path
) -> None:
    before = export(tmp_path, str(folder), "--check")
    assert list(folder.iterdir()) == [folder / "20260101000000_their_own.sql"]
    export(tmp_path, str(folder))
    (folder / OURS[-1]).unlink()
    lacking = export(tmp_path, str(folder), "--check")
    export(tmp_path, str(folder))
    after = export(tmp_path, str(folder), "--check")

    assert (before.returncode, len(before.stdout.splitlines())) == (1, len(OURS))
    assert (lacking.returncode, lacking.stdout) == (1, f"{folder / OURS[-1]}\n")
    assert (after.returncode, after.stdout) == (0, "")


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_changed_file_is_named_and_left_alone(
    tmp_path: Path, folder: Path, check: list[str]
) -> None:
    (folder / OURS[0]).write_text("select 'mine';\n")

    done = export(tmp_path, str(folder), *check)

    assert done.returncode == 1
    assert f"{OURS[0]} is not the file of this version" in done.stderr
    assert (folder / OURS[0]).read_text() == "select 'mine';\n"
    assert [path.name for path in folder.iterdir() if path.name in OURS] == [OURS[0]]


def test_file_with_windows_line_endings_is_the_same(tmp_path: Path, folder: Path) -> None:
    text = (MIGRATIONS / OURS[0]).read_text()
    (folder / OURS[0]).write_text(text, newline="\r\n")

    assert export(tmp_path, str(folder)).returncode == 0


def test_file_of_the_operator_with_a_version_of_ours_is_named(tmp_path: Path, folder: Path) -> None:
    (folder / f"{OURS[-1][:14]}_their_other.sql").write_text("select 1;\n")

    done = export(tmp_path, str(folder))

    assert done.returncode == 1
    assert f"has the version of {OURS[-1]}" in done.stderr
    assert not (folder / OURS[0]).exists()


def test_file_in_place_of_the_folder_is_one_line_of_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    done = export(tmp_path, str(tmp_path / "file"))

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "File exists" in done.stderr
