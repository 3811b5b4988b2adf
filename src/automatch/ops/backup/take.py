"""Making a backup while everything runs.

One transaction sees the database at one moment: its snapshot is what pg_dump writes, what the
tables are counted in, and where the photos are named. Photos are copied beside it. One that is
erased meanwhile may have no file any more; it is left out, and the manifest counts it. After a
restore it is erased again, as the log of erasures says.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

from automatch import __version__
from automatch.auth.receipts import Receipts
from automatch.errors import AutomatchError
from automatch.errors.job import PhotoMissingError
from automatch.errors.store import BackupError
from automatch.ops.backup.check import check_backup
from automatch.ops.backup.erasures import copy_erasures
from automatch.ops.backup.keys import HashingFile, Identities, Recipients
from automatch.ops.backup.manifest import (
    DATABASE,
    FORMAT,
    KEPT_APART,
    PHOTOS,
    SECRETS,
    SIGNATURE,
    WAITING,
    Manifest,
    Part,
    Photos,
    Report,
    measure,
    parse_photo_list,
    read_manifest,
    write_photo_list,
)
from automatch.ops.backup.place import MANIFEST, POOLS, Place, backup_name, scratch_folder
from automatch.ops.backup.retention import prune
from automatch.photos.folder import copy_name, upload_name
from automatch.postgres.addresses import database_address
from automatch.postgres.client_programs import ClientPrograms
from automatch.settings.secrets import secrets_file
from automatch.store.installation import backups

if TYPE_CHECKING:
    from automatch.photos.store import PhotoStore
    from automatch.settings import Settings
    from automatch.settings.secrets import Secrets
    from automatch.store.database import Connection
    from automatch.store.installation.backups import State

_AT_ONCE = 16
"""Photos that are copied at a time."""


@dataclass
class _Copied:
    """What became of the photos."""

    pool: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of each file of the pool."""
    new: list[str] = field(default_factory=list)
    waiting: int = 0
    photos: int = 0
    copied: int = 0
    without_file: list[str] = field(default_factory=list)


class BackupRunner:
    """Makes backups of one installation at one place.

    Args:
        recipients: to whom a backup is encrypted; without any it is not, and has no secrets.
        identities: keys with which it is opened again, to check it.
        report: told of the progress.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        photos: PhotoStore,
        place: Place,
        *,
        recipients: Recipients,
        identities: Identities,
        report: Report,
    ) -> None:
        self._settings = settings
        self._address = database_address(settings, secrets, "owner")
        self._photos = photos
        self._place = place
        self._recipients = recipients
        self._identities = identities
        self._report = report
        self._signing = Receipts(settings.home)

    async def run(self, *, check: bool = True, scheduled: bool = False) -> Manifest:
        """Make a backup, check it by reading it back, and note how it went.

        A *scheduled* one deletes others that are not kept any longer.

        Raises:
            BackupError: it could not be made; or it could, and is not what it should be.
        """
        async with AsyncExitStack() as stack:
            lock = await stack.enter_async_context(backups.owner_connection(self._address))
            if await backups.is_supabase(lock):
                raise BackupError(
                    "This is the database of a Supabase project, which backs it up itself; "
                    "the bucket of the photos is yours to copy."
                )
            await stack.enter_async_context(backups.lock_backups(lock))
            frozen = await stack.enter_async_context(backups.owner_connection(self._address))
            state = await backups.freeze_state(frozen)
            # After the snapshot, so that no backup has a run of which nobody knows the end.
            run = await backups.start_run(lock, self._place.location, scheduled=scheduled)
            try:
                with scratch_folder(self._settings.home) as scratch:
                    manifest = await self._make(frozen, lock, state, scratch, check=check)
            except (AutomatchError, OSError) as exc:
                await backups.fail_run(lock, run, getattr(exc, "message", None) or str(exc))
                raise
            await backups.finish_run(
                lock,
                run,
                name=manifest.name,
                encrypted=bool(self._recipients),
                photos=manifest.photos.count,
                byte_count=manifest.total_bytes,
            )
            if scheduled:
                # While no other backup counts on photos that go.
                kept = self._settings.backup
                await prune(self._place, daily=kept.keep_daily, weekly=kept.keep_weekly)
        return manifest

    async def _make(
        self,
        frozen: Connection,
        live: Connection,
        state: State,
        scratch: Path,
        *,
        check: bool,
    ) -> Manifest:
        # Makes the key where there is none, before the secrets are packed.
        signed_by = self._signing.fingerprint
        name = backup_name(state.taken_at)
        folder = await self._place.begin(name, scratch)
        parts: dict[str, Part] = {}
        self._report("Database", 0, 0)
        programs = ClientPrograms(self._address, state.postgres)
        file = self._named(DATABASE)
        parts[file] = await asyncio.to_thread(self._dump, programs, state, folder / file)
        tables = await backups.count_rows(frozen)
        photos = await backups.list_photos(frozen)
        await frozen.rollback()
        copied = await self._copy_photos(photos, folder)
        known = await backups.list_known_photos(live, copied.without_file)
        listed = write_photo_list(copied.pool)
        (folder / PHOTOS).write_bytes(listed)
        if self._recipients:
            secrets = self._recipients.encrypt(self._pack_secrets())
            (folder / self._named(SECRETS)).write_bytes(secrets)
        for path in folder.iterdir():
            if path.name not in parts:
                parts[path.name] = await asyncio.to_thread(measure, path)
        manifest = Manifest(
            format=FORMAT,
            name=name,
            taken_at=state.taken_at,
            automatch=__version__,
            schema_version=state.schema_version,
            postgres=state.postgres,
            owner=state.owner,
            photo_store=state.photo_store,
            recipients=self._recipients.names,
            signed_by=signed_by,
            pool=self._recipients.pool,
            parts=parts,
            tables=tables,
            photos=Photos(
                count=copied.photos,
                waiting=copied.waiting,
                copied=copied.copied,
                erased_meanwhile=len(copied.without_file) - len(known),
                missing=sum(photos[path] for path in known),
            ),
        )
        content = manifest.model_dump_json(indent=2).encode()
        (folder / MANIFEST).write_bytes(content)
        (folder / SIGNATURE).write_text(self._signing.sign_backup(content))
        await copy_erasures(self._settings.erasure_log, self._place)
        await self._place.publish(folder, name)
        if check:
            self._report("Check", 0, 0)
            await check_backup(
                self._place, manifest, self._identities, scratch, only=set(copied.new)
            )
        return manifest

    def _dump(self, programs: ClientPrograms, state: backups.State, file: Path) -> Part:
        # Row security does not hide rows of the owner's, and pg_dump refuses tables that have it.
        options = (
            "--format=custom",
            f"--snapshot={state.snapshot}",
            "--enable-row-security",
            *(f"--extension={name}" for name in state.extensions),
        )
        with (
            programs.start("pg_dump", *options, stdout=PIPE) as process,
            file.open("xb") as raw,
        ):
            assert process.stdout is not None
            assert process.stderr is not None
            out = HashingFile(raw)
            self._recipients.encrypt_stream(process.stdout, out)
            said = process.stderr.read().decode(errors="replace")
        if process.returncode != 0:
            raise BackupError(f"pg_dump failed: {said.strip()[-1000:] or process.returncode}")
        return Part(bytes=out.size, sha256=out.sha256)

    async def _copy_photos(self, photos: dict[str, bool], folder: Path) -> _Copied:
        copied = _Copied()
        earlier = await self._list_earlier()
        new: list[str] = []
        for path, is_final in photos.items():
            names = [self._named(copy_name(path, size)) for size in ("full", "thumb")]
            if is_final and all(name in earlier for name in names):
                copied.pool |= {name: earlier[name] for name in names}
            else:
                new.append(path)
        copied.photos = len(photos) - len(new)
        with tarfile.open(folder / WAITING, mode="w") as archive:
            for start in range(0, len(new), _AT_ONCE):
                paths = new[start : start + _AT_ONCE]
                found = await asyncio.gather(*(self._read_photo(path) for path in paths))
                for path, files in zip(paths, found, strict=True):
                    if not files:
                        copied.without_file.append(path)
                        continue
                    copied.photos += 1
                    copied.copied += 1
                    if photos[path]:
                        await self._put_in_pool(files, copied)
                    else:
                        copied.waiting += 1
                        for file, content in files.items():
                            stored = await asyncio.to_thread(self._recipients.encrypt, content)
                            _add(archive, self._named(file), stored)
                self._report("Photos", len(photos) - len(new) + start + len(paths), len(photos))
        return copied

    async def _list_earlier(self) -> dict[str, str]:
        """Return the files of the pool that a whole backup names, and that are there."""
        named: dict[str, str] = {}
        for name in await self._place.list_backups():
            if (await read_manifest(self._place, name)).pool == self._recipients.pool:
                named |= parse_photo_list(await self._place.read(f"{name}/{PHOTOS}") or b"")
        prefix = f"{POOLS}/{self._recipients.pool}"
        there = {key.removeprefix(f"{prefix}/") for key in await self._place.list_keys(prefix)}
        return {file: digest for file, digest in named.items() if file in there}

    async def _read_photo(self, path: str) -> dict[str, bytes]:
        """Return the files of a photo by their names; none where it has none."""
        # A worker may put the copies in place of the upload meanwhile.
        for _ in range(2):
            full = await self._photos.read_copy(path, "full")
            thumb = await self._photos.read_copy(path, "thumb")
            if full is not None and thumb is not None:
                return {copy_name(path, "full"): full, copy_name(path, "thumb"): thumb}
            try:
                upload = await self._photos.read(path)
            except PhotoMissingError:
                continue
            return {upload_name(path): upload}
        return {}

    async def _put_in_pool(self, files: dict[str, bytes], copied: _Copied) -> None:
        for file, content in files.items():
            stored = await asyncio.to_thread(self._recipients.encrypt, content)
            name = self._named(file)
            await self._place.write(f"{POOLS}/{self._recipients.pool}/{name}", stored)
            copied.pool[name] = hashlib.sha256(stored).hexdigest()
            copied.new.append(name)

    def _named(self, part: str) -> str:
        return part + self._recipients.suffix

    def _pack_secrets(self) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name in KEPT_APART:
                path = self._settings.home / name
                if path == secrets_file(self._settings.home) and (given := self._settings.secrets):
                    _add(archive, name, given.get_secret_value().encode())
                elif path.exists():
                    _add(archive, name, path.read_bytes())
        return packed.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o600
    archive.addfile(entry, io.BytesIO(content))
