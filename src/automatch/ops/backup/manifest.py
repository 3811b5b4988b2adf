"""What a backup says of itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from automatch.auth.receipts import read_backup_signature
from automatch.errors.request import ReceiptInvalidError
from automatch.errors.store import BackupDamagedError, BackupError
from automatch.ops.backup.place import MANIFEST, POOLS, Place, is_backup_name

FORMAT = 1
SIGNATURE = "manifest.jws"
DATABASE = "database.dump"
"""Of pg_dump, in its custom format."""
SECRETS = "secrets.tar"
WAITING = "waiting.tar"
"""Photos whose files may still change, each by itself, in the form of a photo folder."""
PHOTOS = "photos.sha256"
"""A line of `sha256sum` for each file of the pool that belongs to the backup."""

KEPT_APART = ("secrets.json", "receipt-key.json", "project_keys.json", "models.toml")
"""Files of the data folder without which a restored installation is another one."""

Report = Callable[[str, int, int], None]
"""Told what is being done, how much of it, and of how much; 0 of 0 where nobody knows."""


class _Values(BaseModel):
    model_config = ConfigDict(frozen=True)


class Part(_Values):
    """A file of the backup, as it is there."""

    bytes: int
    sha256: str


class Photos(_Values):
    """How many photos, and why some that the database names are not there."""

    count: int
    waiting: int
    """Not analyzed yet, so that they are in the backup and not in the pool."""
    copied: int
    """The others were there from an earlier backup."""
    erased_meanwhile: int
    """Their people erased them while the backup was made."""
    missing: int
    """They had no file when the backup was made."""


class Manifest(_Values):
    """A backup."""

    format: int
    name: str
    taken_at: datetime
    """Of the state of the database that it has."""
    automatch: str
    schema_version: str
    postgres: int
    """Major version of the server."""
    owner: str
    """The login that owned the database."""
    photo_store: UUID | None
    """The mark of the photo store."""
    recipients: list[str]
    signed_by: str
    """The fingerprint of the installation's key. Only a signature proves it."""
    pool: Annotated[str, StringConstraints(pattern="^[a-z0-9]+$")]
    parts: dict[Annotated[str, StringConstraints(pattern="^[a-z0-9]+(\\.[a-z0-9]+)*$")], Part]
    tables: dict[str, int]
    """Rows of each table."""
    photos: Photos

    @property
    def suffix(self) -> str:
        return ".age" if self.recipients else ""

    @property
    def total_bytes(self) -> int:
        """Without the photos of the pool."""
        return sum(part.bytes for part in self.parts.values())

    def pool_key(self, file: str) -> str:
        """Return the key of a photo's file at the place."""
        return f"{POOLS}/{self.pool}/{file}"


async def read_manifest(place: Place, name: str) -> Manifest:
    """Return the manifest of a backup.

    Raises:
        BackupError: there is no such backup, or it is of a newer Auto-Match.
        BackupDamagedError: the manifest cannot be read.
    """
    content = await place.read(f"{name}/{MANIFEST}") if is_backup_name(name) else None
    if content is None:
        raise BackupError(f"There is no backup {name} in {place.location}.")
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as exc:
        raise BackupDamagedError(f"The manifest of the backup {name} cannot be read.") from exc
    if manifest.name != name:
        raise BackupDamagedError(f"The manifest of the backup {name} is that of another one.")
    if manifest.format > FORMAT:
        raise BackupError(
            f"The backup {name} was made by Auto-Match {manifest.automatch}; install that version "
            "or a later one."
        )
    return manifest


async def check_signature(place: Place, manifest: Manifest) -> None:
    """Check that the key which a manifest names has signed it.

    Raises:
        BackupDamagedError: it has not, or something was changed since.
    """
    content = await place.read(f"{manifest.name}/{MANIFEST}") or b""
    signature = await place.read(f"{manifest.name}/{SIGNATURE}") or b""
    try:
        signer = read_backup_signature(signature.decode(errors="replace"), content)
        is_ours = Manifest.model_validate_json(content) == manifest
    except (ReceiptInvalidError, ValidationError):
        signer, is_ours = "", False
    if not is_ours or signer != manifest.signed_by:
        raise BackupDamagedError(
            f"The backup {manifest.name} is not signed, or was changed since; take another one."
        )


async def newest_manifest(place: Place, name: str | None = None) -> Manifest:
    """Return the manifest of the named backup, or of the newest.

    Raises: as `read_manifest`.
    """
    names = await place.list_backups()
    if name is None and not names:
        raise BackupError(f"There is no whole backup in {place.location}.")
    return await read_manifest(place, name or names[-1])


def measure(file: Path) -> Part:
    """Return the size and the SHA-256 of a file."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        return Part(bytes=content.tell(), sha256=digest)


def parse_photo_list(content: bytes) -> dict[str, str]:
    """Return the SHA-256 of each file of the pool, by its name there."""
    lines = (line.partition("  ") for line in content.decode().splitlines())
    return {file: digest for digest, _, file in lines}


def write_photo_list(files: dict[str, str]) -> bytes:
    """Return what `sha256sum -c` reads in the folder of the pool."""
    return "".join(f"{digest}  {file}\n" for file, digest in sorted(files.items())).encode()
