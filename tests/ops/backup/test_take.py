"""Making backups: what is in one, and what an interruption or an erasure leaves."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from automatch.errors.store import BackupDamagedError, BackupError
from automatch.ops.backup.check import check_backup
from automatch.ops.backup.keys import Identities, new_key
from automatch.ops.backup.manifest import PHOTOS
from automatch.ops.backup.place import MANIFEST, FolderPlace
from automatch.postgres import client_programs
from automatch.store.installation import backups
from tests.ops.backup.conftest import Installation

pytestmark = pytest.mark.anyio


async def test_photos_of_an_earlier_backup_are_not_copied_again(
    installation: Installation,
) -> None:
    final = await installation.add_photo(1)
    waiting = await installation.add_photo(2, is_final=False)
    await installation.back_up()
    newer = await installation.add_photo(3)

    second = await installation.back_up()

    assert (second.photos.count, second.photos.copied, second.photos.waiting) == (3, 2, 1)
    pool = {str(path) for path in installation.folder.glob("photos/*/*/*.age")}
    assert {re.sub(r".*photos/\w+/(.*?)\.[a-z.]+$", r"\1", path) for path in pool} == {final, newer}
    with tarfile.open(installation.folder / second.name / "waiting.tar") as archive:
        [member] = archive
        content = archive.extractfile(member)
        assert content is not None
        assert member.name == f"uploads/{waiting}.upload.age"
        opened = installation.identities.decrypt(content.read(), member.name)
    assert opened == b"upload of 2"


async def test_secrets_are_in_an_encrypted_backup_alone(installation: Installation) -> None:
    encrypted = await installation.back_up()
    plain = await installation.back_up(encrypted=False)

    packed = (installation.folder / encrypted.name / "secrets.tar.age").read_bytes()
    opened = installation.identities.decrypt(packed, "secrets.tar.age")
    with tarfile.open(fileobj=io.BytesIO(opened)) as archive:
        # The first backup makes the key with which it is signed.
        assert set(archive.getnames()) == {"secrets.json", "receipt-key.json"}
    assert set(plain.parts) == {"database.dump", PHOTOS, "waiting.tar"}
    text = (installation.settings.home / "secrets.json").read_bytes()[:80]
    await installation.place.write("photos/pool/ab/photo.jpg", b"photo")
    for file in installation.folder.rglob("*"):
        assert file.is_dir() or text not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0


class _Erasing:
    """A photo store in which somebody erases a photo right before it is read."""

    def __init__(self, inner: Any, erase: Callable[[str], Awaitable[None]]) -> None:
        self._inner = inner
        self._erase = erase

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def read_copy(self, path: str, size: str) -> bytes | None:
        await self._erase(path)
        content: bytes | None = await self._inner.read_copy(path, size)
        return content


async def test_photos_that_are_erased_meanwhile_are_counted_and_left_out(
    installation: Installation,
) -> None:
    victim = await installation.add_photo(1)
    lost = await installation.add_photo(2)
    await installation.photos.erase([lost])

    async def erase(path: str) -> None:
        if path == victim:
            installation.ask("delete from faces where image_path = %s returning id", path)
            await installation.photos.erase([path])

    manifest = await installation.changed(photos=_Erasing(installation.photos, erase)).back_up()

    assert (manifest.photos.erased_meanwhile, manifest.photos.missing) == (1, 1)
    assert (installation.folder / manifest.name / PHOTOS).read_text() == ""


async def test_interrupted_backup_is_none_and_the_next_removes_what_it_left(
    installation: Installation,
) -> None:
    with (
        patch.object(FolderPlace, "publish", side_effect=OSError("unplugged")),
        pytest.raises(OSError, match="unplugged"),
    ):
        await installation.back_up()
    assert await installation.place.list_backups() == []
    assert list(installation.folder.glob("*.partial"))

    await installation.back_up()

    assert len(await installation.place.list_backups()) == 1
    assert not list(installation.folder.glob("*.partial"))
    async with backups.owner_connection(installation.owner) as conn:
        ended = [(run.error, run.name is not None) for run in await backups.list_runs(conn)]
    assert ended == [(None, True), ("unplugged", False)]


async def test_check_finds_what_changed_or_is_missing(
    installation: Installation, tmp_path: Path
) -> None:
    await installation.add_photo(1)
    manifest = await installation.back_up()
    nobody = Identities(None)
    [thumb] = installation.folder.glob("photos/*/*/*.thumb.jpg.age")
    folder = installation.folder / manifest.name
    for file in (thumb, *(folder / part for part in manifest.parts)):
        content = file.read_bytes()
        for broken in (content[:-1] + bytes([content[-1] ^ 1]), None):
            if broken is None:
                file.unlink()
            else:
                file.write_bytes(broken)

            with pytest.raises(BackupDamagedError, match=manifest.name):
                await check_backup(installation.place, manifest, nobody, tmp_path)
            file.write_bytes(content)
    await check_backup(installation.place, manifest, nobody, tmp_path)


async def test_check_opens_with_the_right_key_alone(
    installation: Installation, tmp_path: Path
) -> None:
    await installation.add_photo(1)
    manifest = await installation.back_up()
    other = tmp_path / "other.key"
    other.write_text(new_key()[0])

    await check_backup(installation.place, manifest, installation.identities, tmp_path)
    with pytest.raises(BackupDamagedError, match="not opened by this key"):
        await check_backup(installation.place, manifest, Identities(other), tmp_path)


async def test_one_backup_is_made_at_a_time(installation: Installation) -> None:
    async with backups.owner_connection(installation.owner) as conn:
        async with backups.lock_backups(conn):
            with pytest.raises(BackupError, match="Another backup"):
                await installation.back_up()

        await installation.back_up()


async def test_pg_dump_that_is_older_than_the_server_is_refused(
    installation: Installation, tmp_path: Path
) -> None:
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.2'\n")
    old.chmod(0o755)

    with (
        patch.object(client_programs, "_folders", lambda: [tmp_path]),
        pytest.raises(BackupError, match=r"takes a pg_dump .* the newest here is of version 14"),
    ):
        await installation.back_up()
    assert not (installation.folder / MANIFEST).exists()
