"""Photos in a folder of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from automatch.errors.job import PhotoMissingError
from automatch.errors.store import PhotoStorageError, StorageFullError
from automatch.photos.store import (
    MARK,
    PAGE,
    UPLOADS,
    ListedPhoto,
    Part,
    Size,
    compare_marks,
    parse_mark,
    written,
)
from automatch.settings.data_dir import sync_folder

_UPLOAD = ".upload"
_COPIES: dict[Size, str] = {"full": ".jpg", "thumb": ".thumb.jpg"}
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}
_INTERRUPTED_S = 3600
"""Age of an incomplete file whose write was interrupted."""


class FolderPhotos:
    """Photos in a folder that only this user can read; satisfies `PhotoStore`."""

    def __init__(self, folder: Path, *, min_free_mb: int) -> None:
        self.location = f"the folder {folder}"
        self.mark: UUID | None = None
        self._folder = folder
        self._min_free = min_free_mb * 1024**2

    async def check(self) -> None:
        await asyncio.to_thread(self._check)

    async def read_mark(self) -> UUID | None:
        return await asyncio.to_thread(self._read_mark)

    async def set_mark(self, mark: UUID) -> None:
        await asyncio.to_thread(self._write_file, self._folder / MARK, f"{mark}\n".encode())

    async def put_upload(self, path: str, data: bytes) -> None:
        await asyncio.to_thread(self._write, upload_name(path), data)

    async def read(self, path: str) -> bytes:
        return await asyncio.to_thread(self._read, path)

    async def put_copies(self, path: str, *, full: bytes, thumb: bytes) -> None:
        await written(
            asyncio.to_thread(self._write, copy_name(path, "full"), full),
            asyncio.to_thread(self._write, copy_name(path, "thumb"), thumb),
        )

    async def drop_upload(self, path: str) -> None:
        if error := await asyncio.to_thread(self._delete, upload_name(path)):
            raise OSError(error)

    async def read_copy(self, path: str, size: Size) -> bytes | None:
        return await asyncio.to_thread(self._read_first, [copy_name(path, size)])

    async def erase(self, paths: Iterable[str]) -> dict[str, str]:
        return await asyncio.to_thread(self._erase, list(paths))

    async def list_page(self, part: Part, after: str) -> list[ListedPhoto]:
        return await asyncio.to_thread(self._list_page, part, after)

    def _file(self, name: str) -> Path:
        file = self._folder / name
        if not file.resolve().is_relative_to(self._folder.resolve()):
            raise PhotoMissingError
        return file

    def _check(self) -> None:
        self._check_mark()
        if os.path.lexists(self._folder) and not os.access(self._folder, os.W_OK | os.X_OK):
            raise PhotoStorageError(reason=f"{self.location} cannot be written to")

    def _check_mark(self) -> None:
        if self.mark is not None:
            compare_marks(self.location, self._read_mark(), self.mark)

    def _read_mark(self) -> UUID | None:
        try:
            # Opening a named pipe would wait for its other end.
            descriptor = os.open(self._folder / MARK, os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise PhotoStorageError(reason=f"{self._folder / MARK} is not a file")
                return parse_mark(file.read())
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self._unusable(exc) from exc

    def _unusable(self, exc: OSError) -> PhotoStorageError:
        return PhotoStorageError(
            reason=f"{self.location} cannot be used: {exc.strerror or type(exc).__name__}"
        )

    def _write(self, name: str, data: bytes) -> None:
        file = self._file(name)
        # Else the photo would lie below the disk that is to be mounted there.
        self._check_mark()
        self._write_file(file, data, min_free=self._min_free)

    def _write_file(self, file: Path, data: bytes, *, min_free: int = 0) -> None:
        partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        try:
            # One by one, because `mkdir` applies its mode to the innermost folder only.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for parent in reversed(file.relative_to(self._folder).parents[:-1]):
                (self._folder / parent).mkdir(mode=0o700, exist_ok=True)
            if shutil.disk_usage(self._folder).free < min_free + len(data):
                raise StorageFullError
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            partial.replace(file)
            # A rename is durable only after its folder is synced.
            sync_folder(file.parent)
        except OSError as exc:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            if exc.errno in _FULL_DISK:
                raise StorageFullError from exc
            raise self._unusable(exc) from exc

    def _read(self, path: str) -> bytes:
        photo = self._read_first([upload_name(path), copy_name(path, "full")])
        if photo is None:
            raise PhotoMissingError
        return photo

    def _read_first(self, names: list[str]) -> bytes | None:
        try:
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    return self._file(name).read_bytes()
        except OSError:
            # Of this file alone, unless the whole folder is unusable.
            self._check()
            raise
        # A folder that was unmounted looks empty.
        self._check_mark()
        return None

    def _erase(self, paths: list[str]) -> dict[str, str]:
        errors: dict[str, str] = {}
        try:
            self._check_mark()
            for path in paths:
                for name in (upload_name(path), *(path + suffix for suffix in _COPIES.values())):
                    if error := self._delete(name):
                        errors[path] = error
            # Again: unmounted meanwhile, it had no file to delete.
            self._check_mark()
        except PhotoStorageError as exc:
            return dict.fromkeys(paths, str(exc.reason))
        return errors

    def _delete(self, name: str) -> str | None:
        """Delete a file, and not what it links to; return why it could not be deleted."""
        file = self._folder / name
        if not file.parent.resolve().is_relative_to(self._folder.resolve()):
            return "outside of the folder"
        try:
            file.unlink(missing_ok=True)
        except OSError as exc:
            # No file can have a name that is too long.
            return None if exc.errno == errno.ENAMETOOLONG else exc.strerror or type(exc).__name__
        return None

    def _list_page(self, part: Part, after: str) -> list[ListedPhoto]:
        self._check_mark()
        root = self._folder / UPLOADS if part == "uploads" else self._folder
        now = time.time()
        written: dict[str, float] = {}
        for folder in sorted(root.glob("[0-9a-f][0-9a-f]")):
            if folder.name < after[:2] or folder.is_symlink() or not folder.is_dir():
                continue
            for name in sorted(file.name for file in folder.iterdir()):
                path = f"{folder.name}/{name.partition('.')[0]}"
                is_partial = name.startswith(".")
                if path <= after and not is_partial:
                    continue
                if len(written) == PAGE and path not in written:
                    break
                try:
                    written_at = (folder / name).lstat().st_mtime
                except FileNotFoundError:
                    continue
                if not is_partial:
                    written[path] = max(written_at, written.get(path, 0))
                elif now - written_at > _INTERRUPTED_S:
                    # No row refers to an incomplete file.
                    self._delete(str((folder / name).relative_to(self._folder)))
            if len(written) == PAGE:
                break
        return [ListedPhoto(path, now - written_at) for path, written_at in written.items()]


def copy_name(path: str, size: Size) -> str:
    """Return the name of a copy's file in the folder."""
    return path + _COPIES[size]


def upload_name(path: str) -> str:
    """Return the name of an upload's file in the folder."""
    return f"{UPLOADS}/{path}{_UPLOAD}"


def parse_name(name: str) -> tuple[str, Size | None]:
    """Return the path of a photo and which copy a file is, None of an upload."""
    path, _, ending = name.removeprefix(f"{UPLOADS}/").partition(".")
    is_upload = name.startswith(f"{UPLOADS}/")
    return path, None if is_upload else "thumb" if ending.startswith("thumb") else "full"
