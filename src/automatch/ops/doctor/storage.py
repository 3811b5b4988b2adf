"""The photos: where they are stored, whether there is space, and whether any are missing."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import shutil
from pathlib import Path
from uuid import uuid4

from automatch.errors import AutomatchError
from automatch.errors.configuration import SettingsError
from automatch.ops.doctor.check import (
    Check,
    Health,
    Repair,
    Requires,
    Result,
    abbreviate,
    fail,
    ok,
    skipped,
    warn,
)
from automatch.ops.doctor.context import CheckContext
from automatch.photos.make import make_photos
from automatch.photos.store import photo_path
from automatch.postgres.os_user import OsUser
from automatch.settings.data_dir import advise_on_write
from automatch.sql.statements import load
from automatch.store.operation.disk import list_data_folders
from automatch.store.photos.photo_store import find_problem, is_markable, list_newest_photos
from automatch.store.queue import stats

_ERASED = load("erased_data")
_PHOTO_STORE = load("photo_store")
_MIB = 1024**2
_MIN_FREE_INODES = 1000
_SCRUB_EMBEDDED_S = 600
_SCRUB_S = 25 * 3600
"""After which what was erased should be out of the database's files."""


async def _photo_store(context: CheckContext) -> Result:
    if context.settings.photos.bucket is not None:
        return await _check_bucket(context)
    folder = photo_folder(context)
    is_missing = not await asyncio.to_thread(os.path.lexists, folder)
    if is_missing and context.conn and await is_markable(context.conn):
        for mark in await context.column(_PHOTO_STORE["mark"]):
            if problem := await find_problem(make_photos(context.settings), mark):
                return fail(f"{folder} is missing; every upload fails.", problem.fix)
    return await asyncio.to_thread(_check_folder, context, folder)


async def _check_bucket(context: CheckContext) -> Result:
    name = context.settings.photos.bucket
    path = photo_path(uuid4())
    try:
        store = make_photos(context.settings)
        await store.put_upload(path, b"doctor")
        stored = await store.read(path)
        undeleted = await store.erase([path])
    except SettingsError as exc:
        return fail(exc.message, "pip install 'automatch[s3]'")
    except AutomatchError as exc:
        return fail(
            f"The bucket {name} cannot store photos: {exc.message}",
            "Are AUTOMATCH_PHOTOS__ENDPOINT, the region and the keys right? Does the bucket exist?",
        )
    if stored != b"doctor":
        return fail(f"The bucket {name} returns other bytes than were stored.")
    if undeleted:
        return fail(
            f"The bucket {name} does not delete photos.",
            "Allow the access key to delete objects, and let the bucket keep no old versions.",
        )
    return ok(f"The bucket {name} stores, returns and deletes photos.")


async def _mark(context: CheckContext) -> Result:
    photos = make_photos(context.settings)
    marks = await context.column(_PHOTO_STORE["mark"])
    if not marks and await photos.read_mark() is None:
        return ok("The server marks the photo store and the database when it starts.")
    if problem := await find_problem(photos, marks[0] if marks else None):
        return fail(problem.what, problem.fix)
    return ok(f"The photos of this database are in {photos.location}.")


async def are_photos_there(context: CheckContext) -> bool:
    """Tell whether photos can be stored now, in the store of the database."""
    if context.conn is None or not await is_markable(context.conn):
        return False
    results = [await _photo_store(context), await _mark(context)]
    return all(result.health is not Health.FAIL for result in results)


def photo_folder(context: CheckContext) -> Path:
    return context.settings.home / "photos"


def _check_folder(context: CheckContext, folder: Path) -> Result:
    if not os.path.lexists(folder):
        if not context.settings.home.is_dir():
            return fail(f"The data folder {context.settings.home} does not exist.", "automatch up")
        return ok("The first upload will create it.")
    if not folder.is_dir():
        return fail(f"{folder} is not a folder.", f"mv {folder} {folder}.aside")
    problem = _write_problem(folder)
    if problem is not None:
        advice = advise_on_write(folder, problem)
        return fail(
            f"{folder} is not writable ({problem.strerror}); every upload fails.",
            f"{advice[0].upper()}{advice[1:]}.",
        )
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:

        async def restrict() -> None:
            await asyncio.to_thread(folder.chmod, 0o700)
            if context.conn is not None:
                async with context.repairing("storage.photos", mode=f"{mode:o} -> 700"):
                    pass

        return warn(
            f"Other users of this machine can read {folder} (mode {mode:o}).",
            f"chmod 700 {folder}",
            Repair(f"Set the mode of {folder} to 700", restrict),
        )
    return ok(f"{folder} is writable and private.")


def _write_problem(folder: Path) -> OSError | None:
    probe = folder / f".doctor.{secrets.token_hex(4)}"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, b"doctor")
        finally:
            os.close(descriptor)
            probe.unlink()
    except OSError as exc:
        return exc
    return None


async def _disk(context: CheckContext) -> Result:
    min_free = context.settings.retention.min_free_mb * _MIB
    folders = [_existing(folder) for folder in list_data_folders(context.settings)]
    if not folders:
        return skipped("Photos and database are on other machines.")
    free = min(shutil.disk_usage(folder).free for folder in folders)
    inodes = min(_free_inodes(folder) for folder in folders)
    message = f"{free // _MIB} MiB are free"
    if free < min_free:
        return fail(
            f"{message}, less than the required {min_free // _MIB}: uploads are refused.",
            "Free space, or lower AUTOMATCH_RETENTION__MIN_FREE_MB.",
        )
    if inodes < _MIN_FREE_INODES:
        return fail(f"The disk has only {inodes} inodes left.", "Delete files, or move the data.")
    message = f"{message}; uploads are refused below {min_free // _MIB}."
    return warn(message, "Free space soon.") if free < 2 * min_free else ok(message)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _free_inodes(folder: Path) -> int:
    status = os.statvfs(folder)
    # File systems without a fixed number of inodes report 0 of 0.
    return status.f_favail if status.f_files else _MIN_FREE_INODES


async def _photo_files(context: CheckContext) -> Result:
    paths = await list_newest_photos(context.database)
    if not paths:
        return skipped("No photo has been processed yet.")
    store = make_photos(context.settings)
    missing = [path for path in paths if await store.read_copy(path, "thumb") is None]
    if missing:
        location = context.settings.photos.bucket or photo_folder(context)
        return fail(
            f"{len(missing)} of the {len(paths)} newest photos have no file in {location}.",
            "Restore the photos that belong to this database, or correct AUTOMATCH_HOME or "
            "AUTOMATCH_PHOTOS__BUCKET.",
        )
    return ok(f"The files of the {len(paths)} newest photos exist.")


async def _erasures(context: CheckContext) -> Result:
    waiting = await stats.list_stuck_erasures(context.database)
    if waiting:
        count = sum(row.photos for row in waiting)
        reasons = abbreviate([row.error for row in waiting if row.error])
        return fail(
            f"The files of {count} photos still exist, over a minute after their deletion"
            + (f": {reasons}." if reasons else "; workers delete them."),
            "Remove what stands in their place, or give Auto-Match the right to delete; the paths "
            "are in automatch.photo_erasures. Workers try again within five minutes."
            if reasons
            else "Start a worker with this data folder (`automatch worker`).",
        )
    return await _check_erased_rows(context)


async def _check_erased_rows(context: CheckContext) -> Result:
    seconds = _SCRUB_EMBEDDED_S if context.is_embedded else _SCRUB_S
    (overdue,) = await context.column(_ERASED["overdue"], seconds=seconds)
    if overdue:
        return warn(
            f"What {overdue} erasures deleted may still be in the files of the database.",
            "End transactions that were left open, and let automatch up run, which rewrites large "
            "tables once a day."
            if context.is_embedded
            else "automatch db scrub",
        )
    (not_logged,) = await context.column(_ERASED["not_logged"])
    if not_logged:
        return warn(
            f"{not_logged} erasures are not in {context.settings.erasure_log}: a restored backup "
            "would bring these people back.",
            "Start a worker with this data folder (`automatch worker`), and see that it can write "
            "that file.",
        )
    if list((context.settings.home / "postgres").glob("data.[0-9]*")):
        return warn(
            "The database of before its upgrade is kept, and erasures do not reach it.",
            "automatch upgrade --confirm",
        )
    return ok("The files of deleted photos are deleted.")


async def _home(context: CheckContext) -> Result:
    return await asyncio.to_thread(_check_home, context)


def _check_home(context: CheckContext) -> Result:
    home = context.settings.home
    if not home.is_dir():
        return fail(
            f"The data folder {home} does not exist: Auto-Match has not been started here.",
            "Run `automatch up`, or set AUTOMATCH_HOME to another folder.",
        )
    readable = [
        name
        for name in ("secrets.json", "postgres", "photos")
        if (home / name).exists() and (home / name).stat().st_mode & 0o077
    ]
    server = _find_other_user(home / "postgres") if context.is_embedded else None
    mode = home.stat().st_mode & 0o777
    if mode & 0o022:
        closed = 711 if server else 700
        return fail(f"Other users can write to {home} (mode {mode:o}).", f"chmod {closed} {home}")
    if readable and mode & 0o011:
        return warn(
            f"Other users can read {abbreviate(readable)} in {home}.",
            f"chmod go-rwx {' '.join(str(home / name) for name in readable)}",
        )
    # Only root can try as another user.
    if server and os.geteuid() == 0 and not server.reaches((home / "postgres").resolve()):
        return _unreachable((home / "postgres").resolve(), server)
    return ok(f"{home} is private.")


def _find_other_user(postgres: Path) -> OsUser | None:
    """Return the user that the embedded Postgres of this folder runs as, if it is not this one."""
    if not postgres.exists():
        return None
    status = postgres.stat()
    try:
        entry = pwd.getpwuid(status.st_uid)
        user = OsUser(entry.pw_uid, entry.pw_gid, entry.pw_name)
    except KeyError:
        user = OsUser(status.st_uid, status.st_gid, str(status.st_uid))
    return user if user.is_other else None


def _unreachable(postgres: Path, user: OsUser) -> Result:
    def is_closed(folder: Path) -> bool:
        status = folder.stat()
        return not status.st_mode & (0o010 if status.st_gid == user.gid else 0o001)

    closed = [str(folder) for folder in postgres.parents if is_closed(folder)]
    return fail(
        f"Postgres cannot start: the user {user.name}, which it runs as, cannot enter {postgres}.",
        f"chmod a+x {' '.join(closed)}"
        if closed
        else f"Let it pass through the folders above {postgres}, and own that one.",
    )


CHECKS = [
    Check("storage.home", "The data folder is private", _home, Requires.NOTHING),
    Check("storage.photos", "Photos can be stored", _photo_store, Requires.NOTHING),
    Check("storage.mark", "The photos are those of the database", _mark),
    Check("storage.disk", "There is free space", _disk, Requires.NOTHING),
    Check("storage.files", "Files of photos exist", _photo_files),
    Check("storage.erased", "What was deleted is gone from the files", _erasures),
]
