"""Maintenance tasks: what they do when something cannot be done."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import asynccontextmanager
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
from automatch.worker import maintenance as maintenance_module
from automatch.worker.maintenance import MaintenanceRunner
from tests.support import build
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
    upload = folder / "uploads/00/refused.upload"
    upload.mkdir(parents=True)
    os.utime(upload, (0, 0))

    await maintenance.clean_up_photos()

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
    monkeypatch.setattr(maintenance_module, "_COPIES_PAGES", 2)
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
            await runner.clean_up_photos()
            left.append(len(list(folder.glob("??/*.thumb.jpg"))))
            assert [file.name for file in folder.glob("uploads/??/*")] == [f"{waiting[3:]}.upload"]

    order = sorted([*strays, kept])
    assert left == [7 - 4 + (kept in order[:4]), 1, 1]
    assert photos.pages["copies"] == [2, 2, 2, 1, 0]
    assert max(photos.pages["uploads"]) == 2


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


async def test_numbers_of_the_time_without_a_worker_are_recorded_at_once(database, maintenance):
    with connect(database.owner, autocommit=True) as conn:
        job = build.a_job(conn, build.a_face(conn, build.a_profile(conn)))
        conn.execute(
            "update public.match_jobs set created_at = now() - interval '1 day' where id = %s",
            [job],
        )
        await maintenance.record_history()

        assert one(conn, "select count(*) from automatch.history") in (287, 288)
        assert one(conn, "select sum(queued) from automatch.history") == 1


async def test_rows_are_deleted_once_they_are_older_than_the_settings_say(database, maintenance):
    with connect(database.owner, autocommit=True) as conn:
        user = one(conn, "select auth.create_user('linh@example.org', 'x', '{}')")
        for age in (-1, 1):
            more = {"age": timedelta(minutes=age), "name": str(age), "user": user}
            for add in (
                "automatch.audit_log (recorded_at, actor, action)"
                " values (now() - interval '730 days' - %(age)s, %(name)s, 'x')",
                "cron.job_run_details (start_time, command, username)"
                " values (now() - interval '7 days' - %(age)s, %(name)s, current_user)",
                "net._http_response (created, content)"
                " values (now() - interval '6 hours' - %(age)s, %(name)s)",
                "auth.sessions (refreshed_at, id, user_id)"
                " values (now() - interval '30 days' - %(age)s, md5(%(name)s)::uuid, %(user)s)",
                "auth.refresh_tokens (token_sha256, session_id)"
                " values (%(name)s::bytea, md5(%(name)s)::uuid)",
                "auth.refresh_tokens (used_at, token_sha256, session_id)"
                " values (now() - interval '7 days' - %(age)s, ('used ' || %(name)s)::bytea,"
                " md5('-1')::uuid)",
                "auth.one_time_tokens (expires_at, token_sha256, user_id, purpose)"
                " values (now() - %(age)s, %(name)s::bytea, %(user)s, 'recovery')",
                "automatch.mails (requested_at, kind, recipient)"
                " values (now() - interval '1 day' - %(age)s, 'recovery', %(name)s)",
            ):
                conn.execute(f"insert into {add}", more)

        await maintenance.delete_expired_rows()

        kept = {
            "select array_agg(actor) from automatch.audit_log": ["-1"],
            "select array_agg(command) from cron.job_run_details": ["-1"],
            "select array_agg(content) from net._http_response": ["-1"],
            "select array_agg(token_sha256) from auth.one_time_tokens": [b"-1"],
            "select array_agg(recipient) from automatch.mails": ["-1"],
            "select array_agg(id = md5('-1')::uuid) from auth.sessions": [True],
            "select array_agg(token_sha256 order by used_at) from auth.refresh_tokens": [
                b"used -1",
                b"-1",
            ],
        }
        for query, expected in kept.items():
            assert one(conn, query) == expected, query
