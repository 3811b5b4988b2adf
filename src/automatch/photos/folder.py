"""Where photos are kept: the upload until a worker has seen it, then a clean copy and a thumbnail.

A photo's path names no person and is never an address: who may see it is decided per request.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol
from uuid import UUID

from automatch.errors.job import PhotoMissingError
from automatch.errors.store import StorageFullError

Size = Literal["full", "thumb"]

_UPLOAD = ".upload"
_COPIES: dict[Size, str] = {"full": ".jpg", "thumb": ".thumb.jpg"}
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}


def photo_path(face_id: UUID) -> str:
    """Return where the photo of a face lies; spread over 256 folders."""
    return f"{face_id.hex[:2]}/{face_id}"


class PhotoStore(Protocol):
    """Where photos are kept. All paths are those that `photo_path` gave.

    Any of it raises PhotoStorageError while a storage across the network does not answer.
    """

    async def put_upload(self, path: str, data: bytes) -> None:
        """Keep an upload; it is durable on return.

        Raises:
            StorageFullError: there is no room.
        """
        ...

    async def read(self, path: str) -> bytes:
        """Return the upload, or the clean copy once the upload is gone.

        Raises:
            PhotoMissingError: neither is there.
        """
        ...

    async def put_copies(self, path: str, *, full: bytes, thumb: bytes) -> None:
        """Keep the clean copies beside the upload.

        Raises:
            StorageFullError: there is no room.
        """
        ...

    async def drop_upload(self, path: str) -> None:
        """Delete the upload, if it is still there."""
        ...

    async def read_copy(self, path: str, size: Size) -> bytes | None:
        """Return a clean copy, if there is one."""
        ...

    async def erase(self, paths: Iterable[str]) -> None:
        """Delete everything of these photos; what is missing already is no error."""
        ...

    async def list_older_than(self, seconds: float, *, uploads_only: bool) -> list[str]:
        """Return the paths of photos that nothing has written to for so long."""
        ...


class FolderPhotos:
    """Photos in a folder of this machine, readable by this user alone."""

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
        await asyncio.to_thread(self._file(path + _UPLOAD).unlink, missing_ok=True)

    async def find_copy(self, path: str, size: Size) -> Path | None:
        """Return the file of a clean copy."""
        file = self._file(path + _COPIES[size])
        return file if await asyncio.to_thread(file.is_file) else None

    async def read_copy(self, path: str, size: Size) -> bytes | None:
        file = await self.find_copy(path, size)
        try:
            # Whole: the photo may be erased at any moment.
            return await asyncio.to_thread(file.read_bytes) if file else None
        except FileNotFoundError:
            return None

    async def erase(self, paths: Iterable[str]) -> None:
        await asyncio.to_thread(self._erase, list(paths))

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
            # Each by itself: the mode of mkdir() holds for the innermost folder alone.
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

    def _erase(self, paths: list[str]) -> None:
        for path in paths:
            for suffix in (_UPLOAD, *_COPIES.values()):
                self._file(path + suffix).unlink(missing_ok=True)

    def _older(self, seconds: float, uploads_only: bool) -> list[str]:
        limit = time.time() - seconds
        found = set()
        for file in self._folder.glob("??/*"):
            if uploads_only and not file.name.endswith(_UPLOAD):
                continue
            try:
                if file.stat().st_mtime > limit:
                    continue
            except FileNotFoundError:
                continue
            if file.name.startswith("."):
                # Half of a write that was cut off; no row names it.
                file.unlink(missing_ok=True)
                continue
            found.add(f"{file.parent.name}/{file.name.split('.')[0]}")
        return sorted(found)


def _sync_folder(folder: Path) -> None:
    # A rename is durable only when the folder is.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
