"""Photos in a private bucket of an S3-compatible storage, which servers and workers share.

The key of a copy begins with its photo's path, that of an upload with `uploads/`. Nothing is
public: the database decides who may see a photo. To erase a photo, its objects are listed and then
deleted, because some storages (Supabase's) report an error for the deletion of a missing object.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from obstore.exceptions import BaseError
from obstore.store import S3Store

from automatch.errors.job import PhotoMissingError
from automatch.errors.store import PhotoStorageError
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
from automatch.settings.storage import BucketSettings, PhotoSettings

if TYPE_CHECKING:
    from obstore.store import S3Config

_UPLOAD = "upload"
_COPIES: dict[Size, str] = {"full": "full.jpg", "thumb": "thumb.jpg"}
_PATH = re.compile("[0-9a-f]{2}/[^/]+")
_ERASE_CONCURRENCY = 8
"""Photos that one call erases at a time."""

_RETRIES = 2


class BucketPhotos:
    """Photos in a bucket; satisfies `PhotoStore`."""

    def __init__(self, settings: PhotoSettings) -> None:
        assert settings.bucket is not None
        self.location = f"the bucket {settings.bucket}"
        self.mark: UUID | None = None
        self._store = open_bucket(settings.bucket, settings)
        self._erase_slots = asyncio.Semaphore(_ERASE_CONCURRENCY)

    async def check(self) -> None:
        if self.mark is not None:
            compare_marks(self.location, await self.read_mark(), self.mark)

    async def read_mark(self) -> UUID | None:
        return parse_mark(await self._get(MARK))

    async def set_mark(self, mark: UUID) -> None:
        await self._put(MARK, str(mark).encode())

    async def put_upload(self, path: str, data: bytes) -> None:
        await self._put(_upload(path), data)

    async def read(self, path: str) -> bytes:
        for name in (_upload(path), f"{path}/{_COPIES['full']}"):
            content = await self._get(name)
            if content is not None:
                return content
        # A missing bucket answers like a missing photo, but listing it raises PhotoStorageError.
        await self._names(path)
        await self.check()
        raise PhotoMissingError

    async def put_copies(self, path: str, *, full: bytes, thumb: bytes) -> None:
        await written(
            self._put(f"{path}/{_COPIES['full']}", full),
            self._put(f"{path}/{_COPIES['thumb']}", thumb),
        )

    async def drop_upload(self, path: str) -> None:
        await self._delete(await self._names(f"{UPLOADS}/{path}"))

    async def read_copy(self, path: str, size: Size) -> bytes | None:
        return await self._get(f"{path}/{_COPIES[size]}")

    async def erase(self, paths: Iterable[str]) -> dict[str, str]:
        listed = list(paths)
        try:
            await self.check()
        except PhotoStorageError as exc:
            return dict.fromkeys(listed, exc.reason or exc.code)
        errors = await asyncio.gather(*(self._erase(path) for path in listed))
        return {path: error for path, error in zip(listed, errors, strict=True) if error}

    async def list_page(self, part: Part, after: str) -> list[ListedPhoto]:
        await self.check()
        prefix = f"{UPLOADS}/" if part == "uploads" else ""
        # The character after "/" comes behind all objects of a photo.
        offset = f"{prefix}{after}0" if after else None
        now = datetime.now(UTC)
        written: dict[str, datetime] = {}
        async for page in self._pages(prefix.rstrip("/") or None, offset):
            for name, written_at in page:
                path = name.removeprefix(prefix).rpartition("/")[0]
                if _PATH.fullmatch(path):
                    written[path] = max(written_at, written.get(path, written_at))
            # Behind the copies come the uploads, and what is not ours.
            if written or (page and page[-1][0].removeprefix(prefix) > "g"):
                break
        return [
            ListedPhoto(path, (now - written_at).total_seconds())
            for path, written_at in written.items()
        ]

    async def _erase(self, path: str) -> str | None:
        async with self._erase_slots:
            try:
                await self._delete(await self._names(f"{UPLOADS}/{path}") + await self._names(path))
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
        return [name async for page in self._pages(path) for name, _ in page]

    async def _pages(
        self, prefix: str | None, offset: str | None = None
    ) -> AsyncIterator[list[tuple[str, datetime]]]:
        with _translate_errors():
            async for page in self._store.list(prefix, offset=offset, chunk_size=PAGE):
                yield [(item["path"], item["last_modified"]) for item in page]


def open_bucket(bucket: str, settings: BucketSettings, *, prefix: str | None = None) -> S3Store:
    """Return a bucket, or what begins with *prefix* in it."""
    timeout = timedelta(seconds=settings.timeout_s)
    endpoint = settings.endpoint or ""
    config: S3Config = {"region": settings.region}
    if endpoint:
        config["endpoint"] = endpoint.rstrip("/")
    # Without keys, the library uses those of the machine's role.
    if settings.access_key_id is not None and settings.secret_access_key is not None:
        config["access_key_id"] = settings.access_key_id.get_secret_value()
        config["secret_access_key"] = settings.secret_access_key.get_secret_value()
    return S3Store(
        bucket,
        prefix=prefix,
        config=config,
        client_options={
            "timeout": timeout,
            "connect_timeout": min(timeout, timedelta(seconds=5)),
            # The settings allow http only for an address on a trusted network.
            "allow_http": endpoint.startswith("http://"),
        },
        retry_config={"max_retries": _RETRIES, "retry_timeout": timeout},
    )


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as exc:
        # Without the original message, which contains addresses and the storage's answer.
        raise PhotoStorageError from exc


def _upload(path: str) -> str:
    return f"{UPLOADS}/{path}/{_UPLOAD}"
