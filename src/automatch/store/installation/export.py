"""Copying the migrations into a folder of the operator, for `supabase db push`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automatch.errors.store import MigrationError
from automatch.store.installation.migrate import MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path


def list_missing(folder: Path, migrations: Path = MIGRATIONS) -> list[Path]:
    """Return the migrations that are not in *folder*; other files there are ignored.

    Raises:
        MigrationError: a migration was changed there, or another file has its version.
    """
    ours = {path.name: path for path in sorted(migrations.glob("*.sql"))}
    versions = {_version(name): name for name in ours}
    for path in sorted(folder.glob("*.sql")):
        if path.name in ours:
            _compare(path, ours[path.name])
        elif (name := versions.get(_version(path.name))) is not None:
            raise MigrationError(
                f"{path} has the version of {name}; give yours another time in its name."
            )
    return [path for name, path in ours.items() if not (folder / name).exists()]


def write_migrations(folder: Path, files: list[Path]) -> list[Path]:
    """Copy *files* into *folder* without overwriting anything; return the copies.

    Raises:
        MigrationError: the folder is not writable, or a file exists already.
    """
    copies = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            copies.append(_copy(file, folder / file.name))
    except OSError as exc:
        raise MigrationError(f"{exc.filename or folder}: {exc.strerror}.") from exc
    return copies


def _copy(source: Path, target: Path) -> Path:
    with target.open("xb") as out:
        try:
            out.write(source.read_bytes())
        except BaseException:
            # Part of a migration would be pushed like a whole one.
            target.unlink()
            raise
    return target


def _compare(copy: Path, ours: Path) -> None:
    try:
        same = _text(copy) == _text(ours)
    except OSError as exc:
        raise MigrationError(f"{copy}: {exc.strerror}.") from exc
    if not same:
        raise MigrationError(
            f"{copy} is not the file of this version: somebody changed it. Move the changes to a "
            "file of your own and delete this one, to get it anew."
        )


def _text(path: Path) -> bytes:
    # A checkout on Windows may have other line endings.
    return path.read_bytes().replace(b"\r\n", b"\n")


def _version(name: str) -> str:
    return name.partition("_")[0].removesuffix(".sql")
