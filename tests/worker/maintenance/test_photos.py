"""Maintenance of photos: what it does when something cannot be deleted, and where it goes on."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from automatch.photos import folder as folder_module
from automatch.photos.folder import FolderPhotos
from automatch.photos.store import photo_path
from automatch.settings.database import PoolSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.queue.stats import list_stuck_erasures
from automatch.worker.maintenance import MaintenanceRunner
from automatch.worker.maintenance import photos as maintained_photos
from tests.support import build
from tests.support.build import connect, one

pytestmark = pytest.mark.anyio

QUEUE = "insert into automatch.photo_erasures (image_path, queued_at) values (%s, now() - %s)"


async def a_photo(folder: Path) -> str:
    path = photo_path(uuid4())
    photos = FolderPhotos(folder, min_free_mb=0)
    await photos.put_copies(path, full=b"full", thumb=b"thumb")
    return path


async def test_photo_that_cannot_be_deleted_holds_up_no_other_and_is_tried_again(
    database, folder, maintenance
):
    stuck, first, second = [await a_photo(folder) for _ in range(3)]
    (folder / f"{stuck}.jpg").unlink()
    (folder / f"{stuck}.jpg").mkdir()
    with connect(database.owner, autocommit=True) as conn:
        for path in (first, stuck, second):
            conn.execute(QUEUE, [path, timedelta(minutes=2)])

        await maintenance.photos.erase_photos()

        assert [file.name for file in folder.rglob("*.jpg")] == [f"{stuck.rpartition('/')[2]}.jpg"]
        (row,) = conn.execute("select image_path, error from automatch.photo_erasures").fetchall()
        assert row == (stuck, os.strerror(errno.EISDIR))
        async with (
            Database(database.owner, PoolSettings(), name="test") as db,
            db.connection() as reader,
        ):
            assert sum(row.photos for row in await list_stuck_erasures(reader)) == 1
        (folder / f"{stuck}.jpg").rmdir()
        await maintenance.photos.erase_photos()
        assert one(conn, "select count(*) from automatch.photo_erasures") == 1, "not at once"
        conn.execute("update automatch.photo_erasures set next_try_at = now()")
        await maintenance.photos.erase_photos()
        assert one(conn, "select count(*) from automatch.photo_erasures") == 0


async def test_failed_erasure_is_repeated_within_five_minutes_however_old_it_is(
    database, folder, maintenance
):
    outside = "../outside"
    with connect(database.owner, autocommit=True) as conn:
        conn.execute(QUEUE, [outside, timedelta(days=30)])

        await maintenance.photos.erase_photos()

        wait = one(conn, "select next_try_at - now() from automatch.photo_erasures")
    assert timedelta(minutes=4) < wait <= timedelta(minutes=5)


async def test_stray_photos_are_deleted_beside_one_that_cannot_be(folder, maintenance):
    strays = [await a_photo(folder) for _ in range(3)]
    for file in folder.rglob("*.jpg"):
        os.utime(file, (0, 0))
    (folder / f"{strays[1]}.jpg").unlink()
    (folder / f"{strays[1]}.jpg").mkdir()
    os.utime(folder / f"{strays[1]}.jpg", (0, 0))
    upload = folder / "uploads/00/refused.upload"
    upload.mkdir(parents=True)
    os.utime(upload, (0, 0))

    await maintenance.photos.clean_up_photos()

    left = {str(file.relative_to(folder)) for file in folder.rglob("*.*")}
    assert left == {f"{strays[1]}.jpg", "uploads/00/refused.upload"}


class Counting(FolderPhotos):
    """Counts what is listed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, min_free_mb=0)
        self.pages = {"uploads": [], "copies": []}

    async def list_page(self, part, after):
        page = await super().list_page(part, after)
        self.pages[part].append(len(page))
        return page


async def test_sweep_looks_at_all_uploads_and_goes_on_with_the_copies_where_it_ended(
    database, folder, monkeypatch
):
    monkeypatch.setattr(folder_module, "PAGE", 2)
    monkeypatch.setattr(maintained_photos, "_COPIES_PAGES", 2)
    with connect(database.owner, autocommit=True) as conn:
        kept, refused, waiting = [
            photo_path(build.a_face(conn, build.a_profile(conn))) for _ in "123"
        ]
        build.a_job(conn, UUID(waiting[3:]))
    strays = [await a_photo(folder) for _ in range(6)]
    photos = Counting(folder)
    await photos.put_copies(kept, full=b"full", thumb=b"thumb")
    for path in (refused, waiting, photo_path(uuid4())):
        await photos.put_upload(path, b"upload")
    for file in folder.rglob("*.*"):
        os.utime(file, (0, 0))

    left = []
    async with Database(database.worker, PoolSettings(), name="test") as db:
        # As after two restarts of the worker.
        for _ in range(3):
            runner = MaintenanceRunner(db, photos, WorkerSettings(), RetentionSettings())
            await runner.photos.clean_up_photos()
            left.append(len(list(folder.glob("??/*.thumb.jpg"))))
            assert [file.name for file in folder.glob("uploads/??/*")] == [f"{waiting[3:]}.upload"]

    order = sorted([*strays, kept])
    assert left == [7 - 4 + (kept in order[:4]), 1, 1]
    assert photos.pages["copies"] == [2, 2, 2, 1, 0]
    assert max(photos.pages["uploads"]) == 2
