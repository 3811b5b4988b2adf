"""Maintenance tasks: what they do when something cannot be done."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from automatch.photos.folder import FolderPhotos
from automatch.photos.store import photo_path
from automatch.settings.database import PoolSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.stats import list_stuck_erasures
from automatch.worker.maintenance import MaintenanceRunner
from tests.support.build import connect, one
from tests.support.scheduling import eventually

pytestmark = pytest.mark.anyio

QUEUE = "insert into automatch.photo_erasures (image_path, queued_at) values (%s, now() - %s)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "photos"


@pytest.fixture
async def maintenance(database, folder):
    async with Database(database.worker, PoolSettings(), name="test") as db:
        yield MaintenanceRunner(
            db, FolderPhotos(folder, min_free_mb=0), WorkerSettings(), RetentionSettings()
        )


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

        await maintenance.erase_photos()

        assert [file.name for file in folder.rglob("*.jpg")] == [f"{stuck.rpartition('/')[2]}.jpg"]
        (row,) = conn.execute("select image_path, error from automatch.photo_erasures").fetchall()
        assert row == (stuck, os.strerror(errno.EISDIR))
        async with (
            Database(database.owner, PoolSettings(), name="test") as db,
            db.connection() as reader,
        ):
            assert sum(row.photos for row in await list_stuck_erasures(reader)) == 1
        (folder / f"{stuck}.jpg").rmdir()
        await maintenance.erase_photos()
        assert one(conn, "select count(*) from automatch.photo_erasures") == 1, "not at once"
        conn.execute("update automatch.photo_erasures set next_try_at = now()")
        await maintenance.erase_photos()
        assert one(conn, "select count(*) from automatch.photo_erasures") == 0


async def test_failed_erasure_is_repeated_within_five_minutes_however_old_it_is(
    database, folder, maintenance
):
    outside = "../outside"
    with connect(database.owner, autocommit=True) as conn:
        conn.execute(QUEUE, [outside, timedelta(days=30)])

        await maintenance.erase_photos()

        wait = one(conn, "select next_try_at - now() from automatch.photo_erasures")
    assert timedelta(minutes=4) < wait <= timedelta(minutes=5)


async def test_stray_photos_are_deleted_beside_one_that_cannot_be(folder, maintenance):
    strays = [await a_photo(folder) for _ in range(3)]
    for file in folder.rglob("*.jpg"):
        os.utime(file, (0, 0))
    (folder / f"{strays[1]}.jpg").unlink()
    (folder / f"{strays[1]}.jpg").mkdir()
    os.utime(folder / f"{strays[1]}.jpg", (0, 0))
    upload = folder / "00" / "refused.upload"
    for name in ("00", "00/refused.upload"):
        (folder / name).mkdir(exist_ok=True)
    os.utime(upload, (0, 0))

    await maintenance.clean_up_photos()

    left = {str(file.relative_to(folder)) for file in folder.glob("??/*")}
    assert left == {f"{strays[1]}.jpg", "00/refused.upload"}


async def test_one_worker_does_the_maintenance_and_another_takes_over_when_it_stops(
    database, folder
):
    async with Database(database.worker, PoolSettings(), name="test") as db:

        @asynccontextmanager
        async def running(sweep_s: float):
            worker = WorkerSettings(sweep_s=sweep_s)
            maintenance = MaintenanceRunner(
                db, FolderPhotos(folder, min_free_mb=0), worker, RetentionSettings()
            )
            task = asyncio.create_task(maintenance.run())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        leader = "select worker_id from automatch.maintenance_leader where leads_until > now()"
        # It leads for three minutes, unless it steps down.
        async with running(60):
            [(first,)] = await eventually(database.owner, leader)
            second = running(0.01)
            await second.__aenter__()
            with connect(database.owner, autocommit=True) as conn:
                assert one(conn, leader) == first
                assert not one(conn, "select public.lead_maintenance(%s, '1 min')", uuid4())
        await eventually(database.owner, f"{leader} and worker_id <> %s", first)
        await second.__aexit__(None, None, None)


async def test_who_did_something_is_forgotten_once_it_does_not_count_any_more(
    database, maintenance
):
    add = "insert into automatch.rate_limits values (%s, automatch.now() + %s)"
    with connect(database.owner) as conn:
        conn.execute(add, [b"over", timedelta(seconds=-1)])
        conn.execute(add, [b"counts", timedelta(hours=1)])
        conn.commit()
        await maintenance.clean_up_rate_limits()

        assert one(conn, "select array_agg(key) from automatch.rate_limits") == [b"counts"]
