"""Migrations as files in a folder of the operator's, for `supabase db push`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automatch.errors.store import MigrationError
from automatch.store.migrate import MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path


def list_missing(folder: Path, migrations: Path = MIGRATIONS) -> list[Path]:
    """Return our files that are not in *folder*; the operator's own do not matter.

    Raises:
        MigrationError: a file of ours has been changed there, or another has its version.
    """
    ours = {path.name: path for path in sorted(migrations.glob("*.sql"))}
    versions = {_version(name): name for name in ours}
    for there in sorted(folder.glob("*.sql")):
        if there.name in ours:
            _compare(there, ours[there.name])
        elif (ours_too := versions.get(_version(there.name))) is not None:
            raise MigrationError(
                f"{there} has the version of {ours_too}; give yours another time in its name."
            )
    return [path for name, path in ours.items() if not (folder / name).exists()]


def write_migrations(folder: Path, files: list[Path]) -> list[Path]:
    """Copy *files* into *folder*, over nothing that is there; return the copies.

    Raises:
        MigrationError: the folder cannot be written to, or a file came in between.
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
            # Half a migration would be pushed as a whole one.
            target.unlink()
            raise
    return target


def _compare(there: Path, ours: Path) -> None:
    try:
        same = _text(there) == _text(ours)
    except OSError as exc:
        raise MigrationError(f"{there}: {exc.strerror}.") from exc
    if not same:
        raise MigrationError(
            f"{there} is not the file of this version: somebody changed it. Move the changes to a "
            "file of your own and delete this one, to get it anew."
        )


def _text(path: Path) -> bytes:
    # A checkout on Windows may have turned the ends of the lines; it is the same SQL.
    return path.read_bytes().replace(b"\r\n", b"\n")


def _version(name: str) -> str:
    return name.partition("_")[0].removesuffix(".sql")
