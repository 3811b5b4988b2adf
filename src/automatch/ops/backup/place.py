"""Where backups are kept: a folder, or a bucket.

    NAME/manifest.json         with the other parts of one backup, which is whole once this is there
    photos/POOL/ab/UUID.jpg    photos that do not change any more, shared by all backups
    erasures.log               everybody who was erased, whichever backup still has them

A folder's backup is written as `NAME.partial` and renamed. A bucket renames nothing: its manifest
is written last.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar
from urllib.parse import urlsplit

from automatch.errors.configuration import SettingsError
from automatch.errors.store import BackupError
from automatch.settings.data_dir import advise_on_write, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from automatch.settings.storage import BackupSettings

_P = ParamSpec("_P")
_T = TypeVar("_T")

MANIFEST = "manifest.json"
POOLS = "photos"
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z")
_PARTIAL = ".partial"


class Place(Protocol):
    """Keeps backups under `name`, and single files under keys such as `photos/plain/ab/….jpg`.

    Every method raises BackupError when the place cannot be used.
    """

    location: str
    """What it is for operators."""

    async def list_backups(self) -> list[str]:
        """Return the names of those that are whole, the oldest first."""
        ...

    async def list_keys(self, prefix: str) -> list[str]:
        """Return the keys below a folder."""
        ...

    async def read(self, key: str) -> bytes | None:
        """Return a file, None if there is none."""
        ...

    async def write(self, key: str, content: bytes) -> None:
        """Write a file durably, in one step."""
        ...

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete files; missing ones are no error."""
        ...

    async def begin(self, name: str, scratch: Path) -> Path:
        """Return a new local folder for the parts of a backup; interrupted ones are removed."""
        ...

    async def publish(self, folder: Path, name: str) -> None:
        """Make the backup whose parts are in this folder whole."""
        ...

    async def fetch(self, name: str, scratch: Path) -> Path:
        """Return a local folder with the parts of a backup."""
        ...

    async def remove(self, name: str) -> None:
        """Delete a backup; it stops being whole at once."""
        ...


def open_place(to: str, settings: BackupSettings) -> Place:
    """Return the place that *to* names, `s3://bucket/prefix` or a folder.

    Raises:
        SettingsError: it is a bucket, and the library for that is not installed.
    """
    if not to.startswith("s3://"):
        return FolderPlace(Path(to).absolute())
    try:
        from automatch.ops.backup.bucket_place import BucketPlace
    except ImportError as exc:
        raise SettingsError(
            "A backup to a bucket needs one more library: pip install 'automatch[s3]'."
        ) from exc
    parts = urlsplit(to)
    return BucketPlace(parts.netloc, parts.path.strip("/"), settings)


@contextmanager
def scratch_folder(home: Path) -> Iterator[Path]:
    """Give an empty folder; what a killed backup or restore left in it is gone."""
    folder = home / "backup.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def backup_name(taken_at: datetime) -> str:
    """Return the name of the backup of that moment; names sort by time."""
    return f"{taken_at.astimezone(UTC):%Y%m%dT%H%M%S.%f}"[:-3] + "Z"


def parse_backup_name(name: str) -> datetime:
    """Return the moment of a backup."""
    return datetime.strptime(name, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)


def is_backup_name(name: str) -> bool:
    """Tell whether a folder with this name is a backup."""
    return _NAME.fullmatch(name) is not None


class FolderPlace:
    """A folder, such as a mounted disk; satisfies `Place`."""

    def __init__(self, folder: Path) -> None:
        self.location = str(folder)
        self._folder = folder

    async def list_backups(self) -> list[str]:
        return await self._run(self._list_backups)

    async def list_keys(self, prefix: str) -> list[str]:
        return await self._run(self._list_keys, prefix)

    async def read(self, key: str) -> bytes | None:
        return await self._run(self._read, key)

    async def write(self, key: str, content: bytes) -> None:
        await self._run(self._write, key, content)

    async def delete(self, keys: Iterable[str]) -> None:
        await self._run(self._delete, list(keys))

    async def begin(self, name: str, scratch: Path) -> Path:
        del scratch
        return await self._run(self._begin, name)

    async def publish(self, folder: Path, name: str) -> None:
        await self._run(self._publish, folder, name)

    async def fetch(self, name: str, scratch: Path) -> Path:
        del scratch
        return self._folder / name

    async def remove(self, name: str) -> None:
        await self._run(self._remove, name)

    async def _run(self, act: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await asyncio.to_thread(act, *args, **kwargs)
        except OSError as exc:
            raise BackupError(
                f"The backups in {self.location} cannot be used ({exc.strerror or exc}); "
                f"{advise_on_write(self._folder, exc)}, or mount the disk."
            ) from exc

    def _list_backups(self) -> list[str]:
        return sorted(
            entry.name
            for entry in (self._folder.iterdir() if self._folder.is_dir() else ())
            if is_backup_name(entry.name) and (entry / MANIFEST).is_file()
        )

    def _list_keys(self, prefix: str) -> list[str]:
        return [
            str(file.relative_to(self._folder))
            for file in (self._folder / prefix).rglob("*")
            if file.is_file() and not file.name.startswith(".")
        ]

    def _read(self, key: str) -> bytes | None:
        try:
            return (self._folder / key).read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, key: str, content: bytes) -> None:
        file = self._folder / key
        for folder in reversed(Path(key).parents):
            # With `parents` the mode would count for the last of them alone.
            (self._folder / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{token_hex(4)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            partial.replace(file)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(file.parent)

    def _delete(self, keys: list[str]) -> None:
        for key in keys:
            (self._folder / key).unlink(missing_ok=True)

    def _begin(self, name: str) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._folder.glob(f"*{_PARTIAL}"):
            if is_backup_name(left.name.removesuffix(_PARTIAL)):
                shutil.rmtree(left)
        partial = self._folder / f"{name}{_PARTIAL}"
        partial.mkdir(mode=0o700)
        return partial

    def _publish(self, folder: Path, name: str) -> None:
        for file in folder.iterdir():
            descriptor = os.open(file, os.O_RDONLY)
            os.fchmod(descriptor, 0o600)
            os.fsync(descriptor)
            os.close(descriptor)
        sync_folder(folder)
        folder.rename(self._folder / name)
        sync_folder(self._folder)

    def _remove(self, name: str) -> None:
        partial = self._folder / f"{name}{_PARTIAL}"
        (self._folder / name).rename(partial)
        shutil.rmtree(partial)
