"""Photos in a private bucket of an S3-compatible storage, which servers and workers share.

The key of an object begins with its photo's path. Nothing is public: the database decides who may
see a photo. To erase a photo, its objects are listed and then deleted, because some storages
(Supabase's) report an error for the deletion of a missing object.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import S3Store

from automatch.errors.job import PhotoMissingError
from automatch.errors.store import PhotoStorageError
from automatch.photos.store import Size
from automatch.settings.storage import PhotoSettings

if TYPE_CHECKING:
    from obstore.store import S3Config

_UPLOAD = "upload"
_COPIES: dict[Size, str] = {"full": "full.jpg", "thumb": "thumb.jpg"}
_PAGE = 1000
_ERASE_CONCURRENCY = 8
"""Photos that one call erases at a time."""

_RETRIES = 2


class BucketPhotos:
    """Photos in a bucket; satisfies `PhotoStore`."""

    def __init__(self, settings: PhotoSettings) -> None:
        assert settings.bucket is not None
        timeout = timedelta(seconds=settings.timeout_s)
        endpoint = settings.endpoint or ""
        config: S3Config = {"region": settings.region}
        if endpoint:
            config["endpoint"] = endpoint.rstrip("/")
        # Without keys, the library uses those of the machine's role.
        if settings.access_key_id is not None and settings.secret_access_key is not None:
            config["access_key_id"] = settings.access_key_id.get_secret_value()
            config["secret_access_key"] = settings.secret_access_key.get_secret_value()
        self._store = S3Store(
            settings.bucket,
            config=config,
            client_options={
                "timeout": timeout,
                "connect_timeout": min(timeout, timedelta(seconds=5)),
                # The settings allow http only for an address on a trusted network.
                "allow_http": endpoint.startswith("http://"),
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": timeout},
        )
        self._erase_slots = asyncio.Semaphore(_ERASE_CONCURRENCY)

    async def put_upload(self, path: str, data: bytes) -> None:
        await self._put(f"{path}/{_UPLOAD}", data)

    async def read(self, path: str) -> bytes:
        for name in (_UPLOAD, _COPIES["full"]):
            content = await self._get(f"{path}/{name}")
            if content is not None:
                return content
        # A missing bucket answers like a missing photo, but listing it raises PhotoStorageError.
        await self._names(path)
        raise PhotoMissingError

    async def put_copies(self, path: str, *, full: bytes, thumb: bytes) -> None:
        await self._put(f"{path}/{_COPIES['full']}", full)
        await self._put(f"{path}/{_COPIES['thumb']}", thumb)

    async def drop_upload(self, path: str) -> None:
        await self._delete(
            [name for name in await self._names(path) if _file_name(name) == _UPLOAD]
        )

    async def read_copy(self, path: str, size: Size) -> bytes | None:
        return await self._get(f"{path}/{_COPIES[size]}")

    async def erase(self, paths: Iterable[str]) -> dict[str, str]:
        listed = list(paths)
        errors = await asyncio.gather(*(self._erase(path) for path in listed))
        return {path: error for path, error in zip(listed, errors, strict=True) if error}

    async def list_older_than(self, seconds: float, *, uploads_only: bool) -> list[str]:
        limit = datetime.now(UTC) - timedelta(seconds=seconds)
        return sorted(
            {
                name.rpartition("/")[0]
                async for name, written_at in self._list()
                if written_at <= limit and (_file_name(name) == _UPLOAD or not uploads_only)
            }
        )

    async def _erase(self, path: str) -> str | None:
        async with self._erase_slots:
            try:
                await self._delete(await self._names(path))
            except PhotoStorageError as exc:
                return exc.code
            return None

    async def _put(self, name: str, data: bytes) -> None:
        with _translate_errors():
            await self._store.put_async(name, data)

    async def _get(self, name: str) -> bytes | None:
        with _translate_errors():
            try:
                answer = await self._store.get_async(name)
                return bytes(await answer.bytes_async())
            except FileNotFoundError:
                return None

    async def _delete(self, names: list[str]) -> None:
        if names:
            with _translate_errors():
                await self._store.delete_async(names)

    async def _names(self, path: str) -> list[str]:
        return [name async for name, _ in self._list(path)]

    async def _list(self, path: str | None = None) -> AsyncIterator[tuple[str, datetime]]:
        with _translate_errors():
            async for page in self._store.list(path, chunk_size=_PAGE):
                for item in page:
                    yield item["path"], item["last_modified"]


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as exc:
        # Without the original message, which contains addresses and the storage's answer.
        raise PhotoStorageError from exc


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]
