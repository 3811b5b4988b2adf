"""The export of everything about a person: one ZIP with `export.json` and their photos."""

from __future__ import annotations

import io
import json
import secrets
import tempfile
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO
from uuid import UUID

from automatch.errors.job import PhotoMissingError, ProfileNotFoundError
from automatch.photos.store import PhotoStore, type_of_copy
from automatch.services.accounts.rate_limits import RateLimits
from automatch.store.database import Database
from automatch.store.protection.personal_data import export_person

_IN_MEMORY = 1024 * 1024
_CHUNK = 64 * 1024

NOT_INCLUDED = {
    "password": "Only its hash is kept, and nobody can read it.",
    "face templates": "The numbers that a photo is compared by. Whoever has them can look for you "
    "elsewhere; they are made anew from the photos that are in here.",
    "names of others": "Other people are `person-…`: the same one within this export, and without "
    "meaning outside of it.",
    "who hid you, and who looked at your photos": "Others have a right to that.",
}


@dataclass(slots=True)
class _Document:
    file: IO[bytes]
    photos: list[tuple[str, str]]
    """Id and path."""


async def open_export(
    db: Database, photos: PhotoStore, person_id: UUID, rate_limits: RateLimits | None = None
) -> AsyncIterator[bytes]:
    """Return the ZIP of everything about a person, in parts.

    With *rate_limits*, `export.json` also says of which limits something is used up. The memory
    that it takes does not depend on the size of the export, and no connection waits for a reader.

    Raises:
        ProfileNotFoundError: there is no such person.
    """
    document = await _write_document(db, person_id, rate_limits)
    return _zip(document, photos)


async def _write_document(
    db: Database, person_id: UUID, rate_limits: RateLimits | None
) -> _Document:
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed by who reads it
    document = _Document(file, [])
    current = None
    head = {
        "made_at": datetime.now(UTC).isoformat(),
        "not_included": NOT_INCLUDED,
        "limits": await rate_limits.list_used(person_id) if rate_limits else [],
    }
    file.write(_as_json(head)[:-2])
    async with db.transaction() as conn:
        async for part, item in export_person(conn, person_id, secrets.token_urlsafe(32)):
            if part == "photos":
                document.photos.append((item["id"], item.pop("path")))
            if part != current:
                file.write(b"\n ],\n" if current else b",\n")
                file.write(f' "{part}": [\n'.encode())
            file.write((b"" if part != current else b",\n") + _as_json(item))
            current = part
    if current is None:
        file.close()
        raise ProfileNotFoundError
    file.write(b"\n ]\n}\n")
    file.seek(0)
    return document


def _as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


class _Sink(io.RawIOBase):
    """What a ZIP is written to: keeps what was not sent yet, and cannot go back."""

    def __init__(self) -> None:
        self._parts = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self._parts += memoryview(data)  # type: ignore[arg-type]  # any buffer, as zipfile writes
        return memoryview(data).nbytes  # type: ignore[arg-type]

    def take(self) -> bytes:
        parts = bytes(self._parts)
        self._parts.clear()
        return parts


async def _zip(document: _Document, photos: PhotoStore) -> AsyncIterator[bytes]:
    sink = _Sink()
    with document.file as file, zipfile.ZipFile(sink, "w") as archive:
        info = zipfile.ZipInfo("export.json", datetime.now(UTC).timetuple()[:6])
        info.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(info, "w", force_zip64=True) as out:
            while chunk := file.read(_CHUNK):
                out.write(chunk)
                yield sink.take()
        for photo_id, path in document.photos:
            async for name, content in _files_of(photos, photo_id, path):
                archive.writestr(name, content)
                yield sink.take()
    yield sink.take()


async def _files_of(
    photos: PhotoStore, photo_id: str, path: str
) -> AsyncIterator[tuple[str, bytes]]:
    full = await photos.read_copy(path, "full")
    if full is not None:
        yield f"photos/{photo_id}.jpg", full
        face = await photos.read_copy(path, "thumb")
        if face is not None:
            yield f"faces/{photo_id}.{type_of_copy(face).removeprefix('image/')}", face
        return
    try:
        # As it was sent: no worker has looked at it yet, or it was refused.
        yield f"photos/{photo_id}", await photos.read(path)
    except PhotoMissingError:
        return
