"""What every storage of photos offers.

An upload is kept until a worker has analyzed it; a clean copy and a thumbnail are kept from then
on. A photo's path names no person and is no URL: each request is authorised by itself. Uploads
lie apart from the copies, so that those left over are found without looking at every photo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from automatch.errors.store import PhotoStorageError

Size = Literal["full", "thumb"]
Part = Literal["uploads", "copies"]

UPLOADS = "uploads"
"""Folder, or beginning of the keys, of what was uploaded and is not analyzed yet."""

PAGE = 1000
"""Most photos, or objects of a bucket, that are listed at a time."""


class ListedPhoto(NamedTuple):
    """A photo of which files are stored, and how long ago they were written."""

    path: str
    age_s: float


MARK = "store-id"
"""Name of the file or object with the mark of a store."""


def photo_path(face_id: UUID) -> str:
    """Return the path of a face's photo; paths are spread over 256 folders."""
    return f"{face_id.hex[:2]}/{face_id}"


def type_of_copy(content: bytes) -> str:
    """Return the media type of a copy: thumbnails are WebP, those of simulated people JPEG."""
    return "image/webp" if content.startswith(b"RIFF") else "image/jpeg"


async def written(*writes: Awaitable[None]) -> None:
    """Wait for writes that go on at once; each of them has ended when one's error is raised."""
    for error in await asyncio.gather(*writes, return_exceptions=True):
        if error is not None:
            raise error


def parse_mark(text: bytes | None) -> UUID | None:
    """Return the mark that a store's file holds; None when there is none, or a damaged one."""
    try:
        return UUID(text.decode().strip()) if text is not None else None
    except ValueError:
        return None


def compare_marks(location: str, found: UUID | None, required: UUID) -> None:
    """Return when a store bears the mark that it has to bear.

    Raises:
        PhotoStorageError: it bears another one, or none.
    """
    if found != required:
        what = "another mark than this database" if found else "no mark of this database"
        raise PhotoStorageError(reason=f"{location} bears {what}; is another disk mounted there?")


class PhotoStore(Protocol):
    """Stores photos by the paths of `photo_path`.

    Every method but `erase` raises PhotoStorageError while the storage does not answer, cannot be
    written to, or is found to bear another mark than `mark`.
    """

    location: str
    """What it is for operators, such as `the folder /data/photos`."""
    mark: UUID | None
    """The mark that it has to bear; None before the database was asked, when it may bear any."""

    async def check(self) -> None:
        """Return when photos can be stored, in the store that is meant."""
        ...

    async def read_mark(self) -> UUID | None:
        """Return the mark that it bears."""
        ...

    async def set_mark(self, mark: UUID) -> None:
        """Mark it durably, in place of the mark it bears."""
        ...

    async def put_upload(self, path: str, data: bytes) -> None:
        """Store an upload durably.

        Raises:
            StorageFullError: there is not enough space.
        """
        ...

    async def read(self, path: str) -> bytes:
        """Return the upload, or the clean copy if the upload is deleted.

        Raises:
            PhotoMissingError: there is neither, and this is the right store.
        """
        ...

    async def put_copies(self, path: str, *, full: bytes, thumb: bytes) -> None:
        """Store the clean copies.

        Raises:
            StorageFullError: there is not enough space.
        """
        ...

    async def drop_upload(self, path: str) -> None:
        """Delete the upload if there is one."""
        ...

    async def read_copy(self, path: str, size: Size) -> bytes | None:
        """Return a clean copy if there is one."""
        ...

    async def erase(self, paths: Iterable[str]) -> dict[str, str]:
        """Delete all files of these photos, each by itself; missing ones are no error.

        Returns:
            The reason by path, for photos of which a file could not be deleted. All of them when
            the store bears another mark: then a missing file tells nothing.
        """
        ...

    async def list_page(self, part: Part, after: str) -> list[ListedPhoto]:
        """Return some of the photos whose paths come *after* this one, in the order of paths.

        An empty list means that there are no more. What an interrupted write left behind is
        deleted on the way.
        """
        ...
