"""Backups in a bucket of an S3-compatible storage."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError

from automatch.errors.store import BackupError
from automatch.ops.backup.place import MANIFEST, is_backup_name
from automatch.photos.bucket import open_bucket

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from automatch.settings.storage import BackupSettings


class BucketPlace:
    """A bucket, or what begins with *prefix* in it; satisfies `Place`."""

    def __init__(self, bucket: str, prefix: str, settings: BackupSettings) -> None:
        self.location = f"s3://{bucket}/{prefix}".rstrip("/")
        self._store = open_bucket(bucket, settings, prefix=prefix or None)

    async def list_backups(self) -> list[str]:
        names = await self._list_names()
        return [name for name in names if await self.read(f"{name}/{MANIFEST}") is not None]

    async def _list_names(self) -> list[str]:
        with self._errors():
            found = await obstore.list_with_delimiter_async(self._store)
        names = [Path(prefix).name for prefix in found["common_prefixes"]]
        return sorted(name for name in names if is_backup_name(name))

    async def list_keys(self, prefix: str) -> list[str]:
        with self._errors():
            return [item["path"] async for page in self._store.list(prefix) for item in page]

    async def read(self, key: str) -> bytes | None:
        with self._errors():
            try:
                answer = await self._store.get_async(key)
                return bytes(await answer.bytes_async())
            except FileNotFoundError:
                return None

    async def write(self, key: str, content: bytes) -> None:
        with self._errors():
            await self._store.put_async(key, content)

    async def delete(self, keys: Iterable[str]) -> None:
        listed = list(keys)
        if listed:
            with self._errors():
                await self._store.delete_async(listed)

    async def begin(self, name: str, scratch: Path) -> Path:
        whole = await self.list_backups()
        for left in await self._list_names():
            if left not in whole:
                await self.remove(left)
        folder = scratch / name
        folder.mkdir(mode=0o700)
        return folder

    async def publish(self, folder: Path, name: str) -> None:
        files = await asyncio.to_thread(os.listdir, folder)
        with self._errors():
            for file in sorted(files, key=lambda file: file == MANIFEST):
                await self._store.put_async(f"{name}/{file}", folder / file)

    async def fetch(self, name: str, scratch: Path) -> Path:
        folder = scratch / f"{name}.fetched"
        folder.mkdir(mode=0o700, exist_ok=True)
        with self._errors():
            for key in await self.list_keys(name):
                answer = await self._store.get_async(key)
                with (folder / Path(key).name).open("wb") as out:
                    async for chunk in answer.stream():
                        out.write(chunk)
        return folder

    async def remove(self, name: str) -> None:
        await self.delete([f"{name}/{MANIFEST}"])
        await self.delete(await self.list_keys(name))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as exc:
            # Without the original message, which contains addresses and the storage's answer.
            raise BackupError(
                f"The bucket {self.location} cannot be used ({type(exc).__name__}); "
                "check AUTOMATCH_BACKUP__ENDPOINT, the region and the keys."
            ) from exc
