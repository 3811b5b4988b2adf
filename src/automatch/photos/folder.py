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
from automatch.photos.store import PAGE, UPLOADS, Part, Size, StoredPhoto

_UPLOAD = ".upload"
_COPIES: dict[Size, str] = {"full": ".jpg", "thumb": ".thumb.jpg"}
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}
_INTERRUPTED_S = 3600
"""Age of an incomplete file whose write was interrupted."""


class FolderPhotos:
    """Photos in a folder that only this user can read; satisfies `PhotoStore`."""

    def __init__(self, folder: Path, *, min_free_mb: int) -> None:
        self._folder = folder
        self._min_free = min_free_mb * 1024**2

    async def put_upload(self, path: str, data: bytes) -> None:
        await asyncio.to_thread(self._write, _upload(path), data)

    async def read(self, path: str) -> bytes:
        return await asyncio.to_thread(self._read, path)

    async def put_copies(self, path: str, *, full: bytes, thumb: bytes) -> None:
        await asyncio.to_thread(self._write, path + _COPIES["full"], full)
        await asyncio.to_thread(self._write, path + _COPIES["thumb"], thumb)

    async def drop_upload(self, path: str) -> None:
        if error := await asyncio.to_thread(self._delete, _upload(path)):
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

    async def list_page(self, part: Part, after: str) -> list[StoredPhoto]:
        return await asyncio.to_thread(self._list_page, part, after)

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
            for parent in reversed(Path(name).parents[:-1]):
                (self._folder / parent).mkdir(mode=0o700, exist_ok=True)
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
        for name in (_upload(path), path + _COPIES["full"]):
            try:
                return self._file(name).read_bytes()
            except FileNotFoundError:
                continue
        raise PhotoMissingError

    def _erase(self, paths: list[str]) -> dict[str, str]:
        errors: dict[str, str] = {}
        for path in paths:
            for name in (_upload(path), *(path + suffix for suffix in _COPIES.values())):
                if error := self._delete(name):
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

    def _list_page(self, part: Part, after: str) -> list[StoredPhoto]:
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
        return [StoredPhoto(path, now - written_at) for path, written_at in written.items()]


def _upload(path: str) -> str:
    return f"{UPLOADS}/{path}{_UPLOAD}"


def _sync_folder(folder: Path) -> None:
    # A rename is durable only after its folder is synced.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
