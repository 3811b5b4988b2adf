"""Whether a backup is what its manifest says, found out by reading it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tarfile
from collections.abc import Collection
from pathlib import Path
from subprocess import DEVNULL, PIPE

from automatch.errors.store import BackupDamagedError
from automatch.ops.backup.keys import Identities
from automatch.ops.backup.manifest import (
    DATABASE,
    PHOTOS,
    SECRETS,
    WAITING,
    Manifest,
    check_signature,
    measure,
    parse_photo_list,
)
from automatch.ops.backup.place import POOLS, Place
from automatch.postgres.client_programs import ClientPrograms

_AT_ONCE = 16


async def check_backup(
    place: Place,
    manifest: Manifest,
    identities: Identities,
    scratch: Path,
    *,
    only: Collection[str] | None = None,
) -> Path:
    """Read a backup; return a local folder with its parts.

    Without a key of an encrypted one, only the bytes are compared. Parts of a bucket are put into
    *scratch*. Of photos that are not in *only* it is seen that they are there.

    Raises:
        BackupDamagedError: something is missing or changed, or is not opened by the keys.
    """
    await check_signature(place, manifest)
    folder = await place.fetch(manifest.name, scratch)
    for name, part in manifest.parts.items():
        file = folder / name
        if not file.is_file():
            raise _damaged(manifest, f"{name} is missing")
        if await asyncio.to_thread(measure, file) != part:
            raise _damaged(manifest, f"{name} is not what was written")
    if identities or not manifest.recipients:
        await asyncio.to_thread(_open_parts, manifest, folder, identities)
    await _check_photos(place, manifest, folder, identities, only)
    return folder


async def _check_photos(
    place: Place,
    manifest: Manifest,
    folder: Path,
    identities: Identities,
    only: Collection[str] | None,
) -> None:
    listed = parse_photo_list((folder / PHOTOS).read_bytes())
    prefix = f"{POOLS}/{manifest.pool}/"
    there = {key.removeprefix(prefix) for key in await place.list_keys(prefix.rstrip("/"))}
    if missing := listed.keys() - there:
        raise _damaged(manifest, f"{len(missing)} files of photos are missing")
    read = [file for file in listed if only is None or file in only]

    async def is_whole(file: str) -> bool:
        content = await place.read(manifest.pool_key(file))
        if content is None or hashlib.sha256(content).hexdigest() != listed[file]:
            return False
        if identities and manifest.recipients:
            await asyncio.to_thread(identities.decrypt, content, file)
        return True

    for start in range(0, len(read), _AT_ONCE):
        whole = await asyncio.gather(*map(is_whole, read[start : start + _AT_ONCE]))
        if not all(whole):
            raise _damaged(manifest, "files of photos are not what was written")


def _open_parts(manifest: Manifest, folder: Path, identities: Identities) -> None:
    if (name := SECRETS + manifest.suffix) in manifest.parts:
        identities.decrypt((folder / name).read_bytes(), name)
    with tarfile.open(folder / WAITING) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            identities.decrypt(content.read(), member.name)
    name = DATABASE + manifest.suffix
    with (
        (folder / name).open("rb") as file,
        ClientPrograms("", manifest.postgres).start(
            # To its end, and so all of it is unpacked.
            "pg_restore",
            "--file=/dev/null",
            connected=False,
            stdin=PIPE,
            stdout=DEVNULL,
        ) as process,
    ):
        assert process.stdin is not None
        # Of one that is damaged it closes its end.
        with contextlib.suppress(OSError), process.stdin as stdin:
            identities.decrypt_stream(file, stdin, name)
    if process.returncode != 0:
        raise _damaged(manifest, "pg_restore cannot read the database")


def _damaged(manifest: Manifest, what: str) -> BackupDamagedError:
    return BackupDamagedError(f"The backup {manifest.name} is damaged: {what}.")
