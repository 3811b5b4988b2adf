"""Restoring: everything comes back, and nothing that is there is touched."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from automatch.auth.receipts import Receipts
from automatch.errors.store import BackupDamagedError, RestoreRefusedError
from automatch.ops.backup.bucket_place import BucketPlace
from automatch.ops.backup.erasures import ErasureCopy
from automatch.ops.backup.manifest import Manifest, Part, newest_manifest
from automatch.photos.make import make_photos
from automatch.photos.store import MARK
from automatch.settings.storage import BackupSettings, PhotoSettings
from automatch.store.protection.erasure_log import ErasureLog, LoggedErasure
from tests.ops.backup.conftest import Installation
from tests.support.postgres import Database

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["folder", "bucket"])
async def test_everything_comes_back(
    installation: Installation,
    blank_database: Database,
    bucket: PhotoSettings,
    tmp_path: Path,
    kind: str,
) -> None:
    if kind == "bucket":
        settings = BackupSettings(**bucket.model_dump(exclude={"bucket"}))
        place = BucketPlace(str(bucket.bucket), "match/backups", settings)
        installation = installation.changed(place=place)
    final = await installation.add_photo(1)
    waiting = await installation.add_photo(2, is_final=False)
    manifest = await installation.back_up()
    assert await installation.place.list_backups() == [manifest.name]

    settings = await installation.restore(manifest, tmp_path / "new", blank_database.owner)

    photos = make_photos(settings)
    assert await photos.read_copy(final, "full") == b"full of 1"
    assert await photos.read_copy(final, "thumb") == b"small"
    assert await photos.read(waiting) == b"upload of 2"
    assert await photos.read_mark() == manifest.photo_store
    assert (tmp_path / "new" / "secrets.json").stat().st_mode & 0o777 == 0o600
    with psycopg.connect(blank_database.owner) as conn:
        faces = conn.execute("select image_path from faces order by created_at").fetchall()
    assert faces == [(final,), (waiting,)]


async def test_installation_that_is_there_is_not_touched(
    installation: Installation, tmp_path: Path
) -> None:
    manifest = await installation.back_up()

    with pytest.raises(RestoreRefusedError, match="There is an installation"):
        await installation.restore(manifest, tmp_path / "new", installation.owner)
    assert installation.ask("select count(*) from automatch.backup_runs") == [1]


async def test_what_is_missing_or_newer_is_told_before_anything_is_made(
    installation: Installation, blank_database: Database, tmp_path: Path
) -> None:
    encrypted = await installation.back_up()
    plain = await installation.back_up(encrypted=False)
    home = tmp_path / "new"

    with pytest.raises(RestoreRefusedError, match="--key-file"):
        await installation.restore(encrypted, home, blank_database.owner, key=False)
    newer = encrypted.model_copy(update={"schema_version": "29991231000000"})
    with pytest.raises(RestoreRefusedError, match="newer; install it"):
        await installation.restore(newer, home, blank_database.owner)
    with pytest.raises(RestoreRefusedError, match="--new-secrets"):
        await installation.restore(plain, home, blank_database.owner, key=False)
    assert not (home / "secrets.json").exists()
    (home / "secrets.json").write_text("{}")
    (home / "secrets.json").chmod(0o600)
    with pytest.raises(RestoreRefusedError, match="of another installation"):
        await installation.restore(encrypted, home, blank_database.owner)
    assert (home / "secrets.json").read_text() == "{}"


def _forge(installation: Installation, manifest: Manifest, **values: object) -> Manifest:
    """Write another manifest in its place, signed with a key that somebody made."""
    forged = manifest.model_copy(update=values)
    folder = installation.folder / manifest.name
    content = forged.model_dump_json().encode()
    (folder / "manifest.json").write_bytes(content)
    (folder / "manifest.jws").write_text(
        Receipts(installation.folder / "thief").sign_backup(content)
    )
    return forged


async def test_backup_that_somebody_else_put_there_is_refused(
    installation: Installation, blank_database: Database, tmp_path: Path
) -> None:
    manifest = await installation.back_up()
    folder = installation.folder / manifest.name
    thief = Receipts(installation.folder / "thief").fingerprint
    home = tmp_path / "new"

    # It names itself as the signer, or the installation.
    forged = _forge(installation, manifest, signed_by=thief)
    with pytest.raises(RestoreRefusedError, match="somebody else may have put it there"):
        await installation.restore(forged, home, blank_database.owner)
    for each in (_forge(installation, manifest), manifest):
        with pytest.raises(BackupDamagedError, match="not signed, or was changed"):
            await installation.restore(each, home, blank_database.owner)
    (folder / "manifest.jws").unlink()
    with pytest.raises(BackupDamagedError, match="not signed, or was changed"):
        await installation.restore(manifest, home, blank_database.owner)
    assert not (home / "secrets.json").exists()


async def test_plain_backup_is_not_taken_for_an_encrypted_one(
    installation: Installation, blank_database: Database, tmp_path: Path
) -> None:
    plain = await installation.back_up(encrypted=False)
    with pytest.raises(RestoreRefusedError, match="You gave a key"):
        await installation.restore(plain, tmp_path / "new", blank_database.owner)
    parts = plain.parts | {"secrets.tar": plain.parts["database.dump"]}
    with pytest.raises(BackupDamagedError, match="has secrets and is not encrypted"):
        await installation.restore(
            plain.model_copy(update={"parts": parts}),
            tmp_path / "new",
            blank_database.owner,
            key=False,
        )


async def test_manifest_names_nothing_outside_of_its_backup(installation: Installation) -> None:
    manifest = await installation.back_up()
    forged: list[dict[str, object]] = [
        {"name": "20200101T000000.000Z"},
        {"name": "../../outside"},
        {"pool": "../outside"},
        {"parts": {"../outside": Part(bytes=0, sha256="")}},
    ]

    for values in forged:
        _forge(installation, manifest, **values)
        with pytest.raises(BackupDamagedError, match="manifest of the backup"):
            await newest_manifest(installation.place)


async def test_secrets_that_were_kept_apart_are_taken(
    installation: Installation, blank_database: Database, tmp_path: Path
) -> None:
    manifest = await installation.back_up(encrypted=False)
    home = tmp_path / "new"
    home.mkdir(mode=0o700)
    shutil.copy2(installation.settings.home / "secrets.json", home)

    await installation.restore(manifest, home, blank_database.owner, key=False)

    with psycopg.connect(blank_database.owner) as conn:
        assert conn.execute("select count(*) from automatch.backup_runs").fetchone() == (0,)


async def test_photo_store_in_use_is_refused_unless_its_photos_are_to_be_kept(
    installation: Installation, blank_database: Database, bucket: PhotoSettings, tmp_path: Path
) -> None:
    settings = installation.settings.model_copy(update={"photos": bucket})
    photos = make_photos(settings)
    in_bucket = installation.changed(settings=settings, photos=photos)
    await photos.set_mark(installation.ask("select mark from automatch.photo_store")[0])
    path = await in_bucket.add_photo(1)
    manifest = await in_bucket.back_up()

    with pytest.raises(RestoreRefusedError, match="--keep-photos"):
        await in_bucket.restore(manifest, tmp_path / "new", blank_database.owner)
    await in_bucket.restore(manifest, tmp_path / "new", blank_database.owner, keep_photos=True)

    assert await photos.read_copy(path, "full") == b"full of 1"


async def test_interrupted_restore_goes_on(
    installation: Installation, blank_database: Database, tmp_path: Path
) -> None:
    paths = [await installation.add_photo(number) for number in (1, 2)]
    manifest = await installation.back_up()
    [last] = installation.folder.glob(f"photos/*/{max(paths)}.thumb.jpg.age")
    content = last.read_bytes()
    last.write_bytes(b"damaged")
    home = tmp_path / "new"
    with pytest.raises(BackupDamagedError):
        await installation.restore(manifest, home, blank_database.owner)
    assert (home / "photos" / MARK).exists()

    last.write_bytes(content)
    settings = await installation.restore(manifest, home, blank_database.owner)

    for path in paths:
        assert await make_photos(settings).read_copy(path, "thumb") == b"small"


async def test_log_of_erasures_is_kept_beside_the_backups_and_comes_back_with_them(
    installation: Installation, blank_database: Database, tmp_path: Path
) -> None:
    log = ErasureLog(installation.settings.erasure_log)
    copy = ErasureCopy(log.path, installation.place)
    manifest = await installation.back_up()
    erased = [
        LoggedErasure(digit * 64, datetime(2026, 1, int(digit), tzinfo=UTC), "person")
        for digit in "123"
    ]
    log.append(erased[:1])

    assert await copy.refresh() is True
    assert await copy.refresh() is False
    # Of a worker on another machine, whose file has only what came later.
    other = ErasureLog(tmp_path / "other.log")
    other.append(erased[1:])
    assert await ErasureCopy(other.path, installation.place).refresh() is True

    settings = await installation.restore(manifest, tmp_path / "new", blank_database.owner)
    assert ErasureLog(settings.erasure_log).read() == erased
