"""Looks everywhere for an erased person: by hashes of ids, or by the id itself."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg

from automatch.errors.store import PhotoStorageError
from automatch.photos.store import Part, PhotoStore
from automatch.settings import Settings
from automatch.store.database import translate_errors
from automatch.store.protection.erasures import find_erased

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BLOCK = 4 * 1024 * 1024
_KEPT = {
    "automatch.audit_log": "acts of operators are kept for their time",
    "automatch.photo_erasures": "files that are still to be deleted",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where was looked, and what was found."""

    name: str
    count: int | None
    """None where nobody could look."""
    note: str = ""
    is_expected: bool = False
    """Whether it may be there for a reason that the note gives."""


async def scan(
    owner_address: str,
    photos: PhotoStore,
    settings: Settings,
    *,
    person: UUID | None,
    person_sha256: str | None,
    photos_sha256: Collection[str],
) -> list[Place]:
    """Return all places, with how often the person or a photo of them is there.

    Raises:
        DatabaseUnavailableError: the database does not answer.
    """
    hashes = {hash_id(str(person)) if person else person_sha256 or "", *photos_sha256}
    places = await _scan_database(owner_address, sorted(hashes))
    places.append(await _scan_photos(photos, hashes))
    places.append(await asyncio.to_thread(_scan_files, settings.home, hashes))
    cluster = settings.home / "postgres" / "data"
    if person is not None and settings.database_url is None:
        places.append(await asyncio.to_thread(scan_bytes, cluster, person))
    return places


def hash_id(text: str) -> str:
    """Return the hash by which receipts and the log name an id."""
    return hashlib.sha256(text.encode()).hexdigest()


async def _scan_database(address: str, hashes: list[str]) -> list[Place]:
    with translate_errors():
        async with await psycopg.AsyncConnection.connect(
            address, connect_timeout=10, application_name="automatch erasure"
        ) as conn:
            found = await find_erased(conn, hashes)
    places = [
        Place(f"table {name}", count, _KEPT.get(name, ""), is_expected=name in _KEPT)
        for name, count in found
        if count != 0
    ]
    left_over = sum(count or 0 for name, count in found if name not in _KEPT)
    return [*places, Place(f"database, {len(found)} tables", left_over)]


async def _scan_photos(photos: PhotoStore, hashes: Collection[str]) -> Place:
    found = 0
    parts: tuple[Part, Part] = ("uploads", "copies")
    try:
        for part in parts:
            after = ""
            while page := await photos.list_page(part, after):
                after = page[-1].path
                found += sum(hash_id(each.path.rpartition("/")[2]) in hashes for each in page)
    except PhotoStorageError as exc:
        return Place(photos.location, None, exc.reason or exc.message)
    return Place(photos.location, found)


def _scan_files(home: Path, hashes: Collection[str]) -> Place:
    """Look through logs and whatever else lies in the data folder, photos and database aside."""
    found = 0
    for path in _files(home):
        relative = path.relative_to(home).parts
        if relative[0] in {"photos", "models"} or relative[:2] == ("postgres", "data"):
            continue
        for block in _blocks(path):
            found += sum(hash_id(m.decode()) in hashes for m in set(_UUID.findall(block)))
    return Place(f"files of {home}, logs among them", found)


def scan_bytes(cluster: Path, person: UUID) -> Place:
    """Look for an id, as Postgres keeps it and as text, in all files of a database."""
    forms = (person.bytes, str(person).encode())
    found = {path for path in _files(cluster) if any(f in b for b in _blocks(path) for f in forms)}
    note = "pages of tables and log, which are rewritten within minutes of an erasure"
    return Place("bytes of the database's files", len(found), note, is_expected=True)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.resolve().rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _blocks(path: Path) -> Iterator[bytes]:
    """Give the content in blocks that overlap by the length of an id."""
    try:
        with path.open("rb") as file:
            tail = b""
            while block := file.read(_BLOCK):
                yield tail + block
                tail = block[-36:]
    except OSError:
        # A file that went away, or is not for this user.
        return
