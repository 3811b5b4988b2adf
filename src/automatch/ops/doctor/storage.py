"""The photos: where they lie, whether there is room, and whether they are all there."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from pathlib import Path
from uuid import uuid4

from automatch.errors import AutomatchError
from automatch.ops.doctor.check import Check, Need, Repair, Result, fail, ok, skipped, some, warn
from automatch.ops.doctor.installation import Installation
from automatch.photos.folder import FolderPhotos, PhotoStore, photo_path
from automatch.sql.statements import load
from automatch.store.disk import guarded_folders

_SQL = load("doctor_queue")
_MIB = 1024**2
_LEAST_INODES = 1000


async def _place(site: Installation) -> Result:
    if site.settings.photos.bucket is not None:
        return await _look_at_bucket(site)
    return await asyncio.to_thread(_look_at_folder, site, photo_folder(site))


async def _look_at_bucket(site: Installation) -> Result:
    name = site.settings.photos.bucket
    path = photo_path(uuid4())
    try:
        store = _store(site)
        await store.put_upload(path, b"doctor")
        kept = await store.read(path)
        await store.erase([path])
    except ImportError:
        return fail("The library for photos in a bucket is missing.", "pip install 'automatch[s3]'")
    except AutomatchError as exc:
        return fail(
            f"The bucket {name} does not take photos: {exc.message}",
            "Are AUTOMATCH_PHOTOS__ENDPOINT, the region and the keys right, and is it there?",
        )
    if kept != b"doctor":
        return fail(f"The bucket {name} gives back something else than it was given.")
    return ok(f"The bucket {name} takes photos, gives them back and deletes them.")


def _store(site: Installation) -> PhotoStore:
    if site.settings.photos.bucket is not None:
        # The library is there only where buckets are used.
        from automatch.photos.bucket import BucketPhotos

        return BucketPhotos(site.settings.photos)
    return FolderPhotos(photo_folder(site), min_free_mb=0)


def photo_folder(site: Installation) -> Path:
    return site.settings.home / "photos"


def _look_at_folder(site: Installation, folder: Path) -> Result:
    if not os.path.lexists(folder):
        if not site.settings.home.is_dir():
            return fail(f"The data folder {site.settings.home} is not there.", "automatch up")
        return ok("The first upload makes it.")
    if not folder.is_dir():
        return fail(f"{folder} is not a folder.", f"mv {folder} somewhere else")
    problem = _write_problem(folder)
    if problem is not None:
        return fail(
            f"Nothing can be written to {folder} ({problem}); every upload fails.",
            f"chown -R {folder} to the user that runs Auto-Match; or is its disk read-only?",
        )
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:

        async def close() -> None:
            await asyncio.to_thread(folder.chmod, 0o700)
            if site.conn is not None:
                async with site.repairing("storage.photos", mode=f"{mode:o} -> 700"):
                    pass

        return warn(
            f"{folder} is open to other users of this machine (mode {mode:o}).",
            f"chmod 700 {folder}",
            Repair(f"gives {folder} the mode 700", close),
        )
    return ok(f"{folder} takes photos, and is closed to other users.")


def _write_problem(folder: Path) -> str | None:
    trial = folder / f".doctor.{secrets.token_hex(4)}"
    try:
        descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, b"doctor")
        finally:
            os.close(descriptor)
            trial.unlink()
    except OSError as exc:
        return exc.strerror or type(exc).__name__
    return None


async def _disk(site: Installation) -> Result:
    least = site.settings.retention.min_free_mb * _MIB
    folders = [_existing(folder) for folder in guarded_folders(site.settings)]
    if not folders:
        return skipped("Photos and database are elsewhere; their disks are watched there.")
    free = min(shutil.disk_usage(folder).free for folder in folders)
    inodes = min(_free_inodes(folder) for folder in folders)
    told = f"{free // _MIB} MiB are free"
    if free < least:
        return fail(
            f"{told}, fewer than the {least // _MIB} that are kept: uploads are refused.",
            "Make room, or lower AUTOMATCH_RETENTION__MIN_FREE_MB.",
        )
    if inodes < _LEAST_INODES:
        return fail(f"The disk takes only {inodes} more files.", "Delete files, or move the data.")
    if free < 2 * least:
        return warn(f"{told}; at {least // _MIB} uploads are refused.", "Make room soon.")
    return ok(f"{told}; uploads are refused at {least // _MIB}.")


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _free_inodes(folder: Path) -> int:
    status = os.statvfs(folder)
    # Some file systems have no fixed number and say 0 of 0.
    return status.f_favail if status.f_files else _LEAST_INODES


async def _photos(site: Installation) -> Result:
    paths = await site.column(_SQL["newest_photos"])
    if not paths:
        return skipped("No worker has seen a photo yet.")
    store = _store(site)
    missing = [path for path in paths if await store.read_copy(path, "thumb") is None]
    if missing:
        where = site.settings.photos.bucket or photo_folder(site)
        return fail(
            f"The files of {len(missing)} of the {len(paths)} newest photos are not in {where}.",
            "Restore the photos that belong to this database, or name where they are: "
            "AUTOMATCH_HOME, or AUTOMATCH_PHOTOS__BUCKET.",
        )
    return ok(f"The {len(paths)} newest are there.")


async def _erasures(site: Installation) -> Result:
    (waiting,) = await site.column(_SQL["erasures"])
    if waiting:
        return fail(
            f"The files of {waiting} photos that people erased are still there, for more than ten "
            "minutes; workers delete them.",
            "Start a worker with this data folder (`automatch worker`).",
        )
    return ok("Photos that people erased are gone.")


async def _home(site: Installation) -> Result:
    return await asyncio.to_thread(_look_at_home, site)


def _look_at_home(site: Installation) -> Result:
    home = site.settings.home
    if not home.is_dir():
        return fail(
            f"The data folder {home} is not there: nothing was started here yet.",
            "automatch up, or AUTOMATCH_HOME for another folder",
        )
    open_files = [
        name
        for name in ("secrets.json", "postgres", "photos")
        if (home / name).exists() and (home / name).stat().st_mode & 0o077
    ]
    mode = home.stat().st_mode & 0o777
    if mode & 0o022:
        return fail(f"Other users can write to {home} (mode {mode:o}).", f"chmod 700 {home}")
    if open_files and mode & 0o011:
        return warn(
            f"{some(open_files)} in {home} can be reached by other users.", f"chmod 700 {home}"
        )
    return ok(f"{home} is closed to other users.")


CHECKS = [
    Check("storage.home", "The data folder", _home, Need.NOTHING),
    Check("storage.photos", "The photo folder or bucket takes photos", _place, Need.NOTHING),
    Check("storage.disk", "There is room", _disk, Need.NOTHING),
    Check("storage.files", "Photos are there", _photos),
    Check("storage.erased", "Erased photos are gone", _erasures),
]
