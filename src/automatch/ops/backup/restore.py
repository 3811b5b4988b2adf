"""Restoring a backup into an installation that has nothing yet.

The database comes last, in one transaction: what is interrupted before is no installation that
could be started by mistake, and the same command goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING

from automatch.errors.store import BackupDamagedError, BackupError, RestoreRefusedError
from automatch.ops.backup.check import check_backup
from automatch.ops.backup.erasures import fetch_erasures
from automatch.ops.backup.manifest import (
    DATABASE,
    KEPT_APART,
    PHOTOS,
    SECRETS,
    WAITING,
    Manifest,
    parse_photo_list,
)
from automatch.ops.backup.place import FolderPlace, Place, scratch_folder
from automatch.photos.folder import parse_name
from automatch.photos.make import make_photos
from automatch.postgres.addresses import database_address
from automatch.postgres.client_programs import ClientPrograms
from automatch.postgres.embedded import EmbeddedPostgres
from automatch.settings.data_dir import create_data_dir
from automatch.settings.secrets import Secrets, load_or_create, read, secrets_file
from automatch.store.installation import backups
from automatch.store.installation.migrate import newest_version

if TYPE_CHECKING:
    from automatch.ops.backup.keys import Identities
    from automatch.ops.backup.manifest import Report
    from automatch.photos.store import PhotoStore
    from automatch.settings import Settings
    from automatch.store.database import Connection

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class _Source:
    """A backup, of which the parts are in a local folder."""

    place: Place
    manifest: Manifest
    folder: Path
    identities: Identities

    async def read(self, photo: str, sha256: str) -> bytes:
        """Return the content of a photo's file of the pool."""
        content = await self.place.read(self.manifest.pool_key(photo))
        if content is None or hashlib.sha256(content).hexdigest() != sha256:
            raise BackupDamagedError(
                f"The photo file {self.manifest.pool_key(photo)} is missing or damaged."
            )
        return await asyncio.to_thread(self.identities.decrypt, content, photo)


@asynccontextmanager
async def restored(
    settings: Settings,
    place: Place,
    manifest: Manifest,
    identities: Identities,
    report: Report,
    *,
    signed_by: str,
    new_secrets: bool = False,
    keep_photos: bool = False,
) -> AsyncIterator[Secrets]:
    """Restore a backup; the database runs during the block, which has to migrate it.

    *signed_by* is the fingerprint of the key with which the installation signs its backups: whoever
    can write to the place could put another one there, and have its statements run by the owner
    of the new database.

    With *new_secrets*, a backup without any gets new ones. With *keep_photos*, the photo store has
    the photos of this database, and nobody else uses it.

    Raises:
        RestoreRefusedError: there is an installation already, or what the backup needs is missing.
        BackupDamagedError: the backup is not what its manifest says; nothing was restored.
    """
    if manifest.schema_version > newest_version():
        raise RestoreRefusedError(
            f"The backup was made by Auto-Match {manifest.automatch}, which is newer; install it."
        )
    if manifest.recipients and not identities:
        raise RestoreRefusedError(
            f"The backup is encrypted to {', '.join(manifest.recipients)}; name the file of the "
            "secret key with --key-file."
        )
    _check_trust(manifest, identities, signed_by)
    create_data_dir(settings.home)
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(scratch_folder(settings.home))
        report("Check", 0, 0)
        folder = await check_backup(place, manifest, identities, scratch, only=())
        secrets = await _restore_secrets(settings, manifest, folder, identities, new=new_secrets)
        if settings.database_url is None:
            await stack.enter_async_context(EmbeddedPostgres(settings, secrets))
        address = database_address(settings, secrets, "owner")
        async with backups.owner_connection(address) as conn:
            await _check_database(conn, settings, manifest)
            photos = make_photos(settings)
            await _check_photo_store(settings, photos, manifest, keep=keep_photos)
            source = _Source(place, manifest, folder, identities)
            await _restore_photos(source, photos, report)
            await _restore_waiting(source, photos)
            await fetch_erasures(settings.erasure_log, place)
            report("Database", 0, 0)
            await backups.make_roles(conn)
            programs = ClientPrograms(address, conn.info.server_version // 10000)
            await asyncio.to_thread(_restore_database, programs, source)
            counts = await backups.count_rows(conn)
            if counts != manifest.tables:
                names = sorted(dict(counts.items() ^ manifest.tables.items()))
                raise BackupDamagedError(
                    f"After the restore these tables have another number of rows: {names}."
                )
            await backups.settle_restored(conn)
        yield secrets


def _check_trust(manifest: Manifest, identities: Identities, signed_by: str) -> None:
    if manifest.signed_by != signed_by:
        raise RestoreRefusedError(
            f"The backup {manifest.name} is signed by {manifest.signed_by}, and not by "
            f"{signed_by}: somebody else may have put it there. Nothing was restored."
        )
    if identities and not manifest.recipients:
        raise RestoreRefusedError(
            f"You gave a key, and the backup {manifest.name} is not encrypted. Name the one you "
            "mean with --backup; to restore this one, leave --key-file out."
        )
    if not manifest.recipients and SECRETS in manifest.parts:
        raise BackupDamagedError(f"The backup {manifest.name} has secrets and is not encrypted.")


async def _restore_secrets(
    settings: Settings, manifest: Manifest, folder: Path, identities: Identities, *, new: bool
) -> Secrets:
    home = settings.home
    there = secrets_file(home).exists()
    name = SECRETS + manifest.suffix
    if name not in manifest.parts:
        if there:
            return read(home)
        if new:
            return load_or_create(home)
        raise RestoreRefusedError(
            f"The backup is not encrypted, and so has no secrets. Put {', '.join(KEPT_APART)} of "
            f"the installation into {home}, as far as you have kept them; or give --new-secrets: "
            "then everybody has to sign in again, and no ban by address counts any more."
        )
    packed = identities.decrypt((folder / name).read_bytes(), name)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        files = _unpack(archive)
    # The secrets last: with them the folder is an installation.
    for file in sorted(files, key=lambda file: file == secrets_file(home).name):
        path = home / file
        if file not in KEPT_APART or (path.exists() and path.read_bytes() != files[file]):
            raise RestoreRefusedError(
                f"{path} is there already and of another installation; "
                "restore into a new folder (--home)."
            )
        if not path.exists():
            await FolderPlace(home).write(file, files[file])
    return read(home)


async def _check_database(conn: Connection, settings: Settings, manifest: Manifest) -> None:
    if await backups.is_migrated(conn):
        where = settings.home if settings.database_url is None else "the database"
        raise RestoreRefusedError(
            f"There is an installation in {where} already. Restore into a new folder (--home) or "
            "an empty database; what is there is not touched."
        )
    version = conn.info.server_version // 10000
    if version < manifest.postgres:
        raise RestoreRefusedError(
            f"The backup is of PostgreSQL {manifest.postgres}, and this server is {version}."
        )
    if conn.info.user != manifest.owner:
        raise RestoreRefusedError(
            f"In the backup everything belongs to the login {manifest.owner}; restore it with a "
            f"login of that name, not {conn.info.user}."
        )


async def _check_photo_store(
    settings: Settings, photos: PhotoStore, manifest: Manifest, *, keep: bool
) -> None:
    mark = await photos.read_mark()
    # A folder below the new data folder is of nobody else, so that a restore can go on there.
    is_ours = mark is not None and mark == manifest.photo_store
    if is_ours and (keep or settings.photos.bucket is None):
        return
    if is_ours:
        raise RestoreRefusedError(
            f"{photos.location} has photos of this database already. If no other installation uses "
            "it any more, give --keep-photos; else name an empty one."
        )
    if mark is not None or await photos.list_page("copies", "") or keep:
        raise RestoreRefusedError(
            f"{photos.location} has to be empty, or with --keep-photos to be the place of the "
            "photos of this database."
        )
    if manifest.photo_store is not None:
        await photos.set_mark(manifest.photo_store)


async def _restore_photos(source: _Source, photos: PhotoStore, report: Report) -> None:
    listed = parse_photo_list((source.folder / PHOTOS).read_bytes())
    by_path: dict[str, list[str]] = {}
    for name in listed:
        by_path.setdefault(parse_name(name)[0], []).append(name)

    async def restore(path: str) -> None:
        # An interrupted restore goes on.
        if await photos.read_copy(path, "thumb") is None:
            names = by_path[path]
            await _put(photos, {name: await source.read(name, listed[name]) for name in names})

    paths = sorted(by_path)
    for start in range(0, len(paths), _AT_ONCE):
        await asyncio.gather(*map(restore, paths[start : start + _AT_ONCE]))
        report("Photos", min(start + _AT_ONCE, len(paths)), len(paths))


async def _restore_waiting(source: _Source, photos: PhotoStore) -> None:
    with tarfile.open(source.folder / WAITING) as archive:
        # One by one: uploads are large.
        for _, members in groupby(archive, lambda member: parse_name(member.name)[0]):
            files = {
                name: await asyncio.to_thread(source.identities.decrypt, content, name)
                for member in members
                for name, content in _read_member(archive, member).items()
            }
            await _put(photos, files)


async def _put(photos: PhotoStore, files: Mapping[str, bytes]) -> None:
    """Store the files of one photo."""
    copies = {}
    for name, content in files.items():
        path, kind = parse_name(name)
        if kind is None:
            await photos.put_upload(path, content)
        else:
            copies[kind] = content
    if copies:
        await photos.put_copies(path, full=copies["full"], thumb=copies["thumb"])


def _restore_database(programs: ClientPrograms, source: _Source) -> None:
    name = DATABASE + source.manifest.suffix
    options = ("--no-owner", "--exit-on-error", "--single-transaction")
    with (
        (source.folder / name).open("rb") as file,
        programs.start("pg_restore", *options, stdin=PIPE, stdout=DEVNULL) as process,
    ):
        assert process.stdin is not None
        assert process.stderr is not None
        with contextlib.suppress(OSError), process.stdin as stdin:
            source.identities.decrypt_stream(file, stdin, name)
        said = process.stderr.read().decode(errors="replace")
    if process.returncode != 0:
        raise BackupError(f"pg_restore failed: {said.strip()[-1000:] or process.returncode}")


def _unpack(archive: tarfile.TarFile) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for member in archive:
        files |= _read_member(archive, member)
    return files


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, bytes]:
    content = archive.extractfile(member)
    return {member.name: content.read()} if content is not None else {}
