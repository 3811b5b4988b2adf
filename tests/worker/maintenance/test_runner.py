"""Which worker does the maintenance, and what is recorded of the time when none did."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from automatch.photos.folder import FolderPhotos
from automatch.settings.database import PoolSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.worker.maintenance import MaintenanceRunner
from tests.support import build
from tests.support.build import connect, one
from tests.support.scheduling import eventually

pytestmark = pytest.mark.anyio


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
