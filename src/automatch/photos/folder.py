"""Photos in a folder of this machine."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from automatch.errors.job import PhotoMissingError
from automatch.errors.store import StorageFullError
from automatch.photos.store import Size

_UPLOAD = ".upload"
_COPIES: dict[Size, str] = {"full": ".jpg", "thumb": ".thumb.jpg"}
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}


class FolderPhotos:
    """Photos in a folder that only this user can read; satisfies `PhotoStore`."""

    def __init__(self, folder: Path, *, min_free_mb: int) -> None:
        self._folder = folder
        self._min_free = min_free_mb * 1024**2

    async def put_upload(self, path: str, data: bytes) -> None:
        await asyncio.to_thread(self._write, path + _UPLOAD, data)

    async def read(self, path: str) -> bytes:
        return await asyncio.to_thread(self._read, path)

    async def put_copies(self, path: str, *, full: bytes, thumb: bytes) -> None:
        await asyncio.to_thread(self._write, path + _COPIES["full"], full)
        await asyncio.to_thread(self._write, path + _COPIES["thumb"], thumb)

    async def drop_upload(self, path: str) -> None:
        if error := await asyncio.to_thread(self._delete, path + _UPLOAD):
            raise OSError(error)

    async def find_copy(self, path: str, size: Size) -> Path | None:
        """Return the file of a clean copy if there is one."""
        file = self._file(path + _COPIES[size])
        return file if await asyncio.to_thread(file.is_file) else None

    async def read_copy(self, path: str, size: Size) -> bytes | None:
        file = await self.find_copy(path, size)
        try:
            # Read at once, because the photo may be erased at any time.
            return await asyncio.to_thread(file.read_bytes) if file else None
        except FileNotFoundError:
            return None

    async def erase(self, paths: Iterable[str]) -> dict[str, str]:
        return await asyncio.to_thread(self._erase, list(paths))

    async def list_older_than(self, seconds: float, *, uploads_only: bool) -> list[str]:
        return await asyncio.to_thread(self._older, seconds, uploads_only)

    def _file(self, name: str) -> Path:
        file = self._folder / name
        if not file.resolve().is_relative_to(self._folder.resolve()):
            raise PhotoMissingError
        return file

    def _write(self, name: str, data: bytes) -> None:
        file = self._file(name)
        partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        try:
            # One by one, because `mkdir` applies its mode to the innermost folder only.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.parent.mkdir(mode=0o700, exist_ok=True)
            if shutil.disk_usage(self._folder).free < self._min_free + len(data):
                raise StorageFullError
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            partial.replace(file)
            _sync_folder(file.parent)
        except OSError as exc:
            partial.unlink(missing_ok=True)
            if exc.errno in _FULL_DISK:
                raise StorageFullError from exc
            raise

    def _read(self, path: str) -> bytes:
        for suffix in (_UPLOAD, _COPIES["full"]):
            try:
                return self._file(path + suffix).read_bytes()
            except FileNotFoundError:
                continue
        raise PhotoMissingError

    def _erase(self, paths: list[str]) -> dict[str, str]:
        errors: dict[str, str] = {}
        for path in paths:
            for suffix in (_UPLOAD, *_COPIES.values()):
                if error := self._delete(path + suffix):
                    errors[path] = error
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

    def _older(self, seconds: float, uploads_only: bool) -> list[str]:
        limit = time.time() - seconds
        found = set()
        for file in self._folder.glob("??/*"):
            if uploads_only and not file.name.endswith(_UPLOAD):
                continue
            try:
                if file.lstat().st_mtime > limit:
                    continue
            except FileNotFoundError:
                continue
            if file.name.startswith("."):
                # An incomplete file of an interrupted write; no row refers to it.
                self._delete(f"{file.parent.name}/{file.name}")
                continue
            found.add(f"{file.parent.name}/{file.name.split('.')[0]}")
        return sorted(found)


def _sync_folder(folder: Path) -> None:
    # A rename is durable only after its folder is synced.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
