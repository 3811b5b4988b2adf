"""The clock of the stand-in for pg_cron: looks at the time and starts what is due."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from psycopg.rows import class_row

from automatch.sql.statements import load
from automatch.store.database import Database
from automatch.supabase_compat.cron_job import Job, run_job
from automatch.supabase_compat.due_jobs import Timetable

_SQL = load("cron")
_SIDE_BY_SIDE = 8
_LOOK_S = 30.0
"""Longest sleep: the machine's clock may be set, and a notification be lost."""


class Cron:
    """Runs the jobs of `cron.job` when they are due, until cancelled."""

    def __init__(self, db: Database, dsn: str) -> None:
        self._db = db
        self._dsn = dsn
        self._timetable = Timetable()
        self._woken = asyncio.Event()
        self._seats = asyncio.Semaphore(_SIDE_BY_SIDE)

    def wake(self) -> None:
        """Look at the jobs again: one has changed."""
        self._woken.set()

    async def run(self) -> None:
        """Start what is due, again and again.

        Raises:
            StoreError: the database is away.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                jobs = await self._load()
                now = datetime.now(UTC)
                self._timetable.update(jobs, now)
                for job in self._timetable.start_due(now):
                    group.create_task(self._run(job))
                await self._sleep()

    async def _load(self) -> list[Job]:
        async with self._db.connection() as conn:
            cursor = conn.cursor(row_factory=class_row(Job))
            return await (await cursor.execute(_SQL["load_jobs"])).fetchall()

    async def _run(self, job: Job) -> None:
        try:
            async with self._seats:
                await run_job(self._db, self._dsn, job)
        finally:
            self._timetable.ended(job)
            self.wake()

    async def _sleep(self) -> None:
        seconds = self._timetable.seconds_to_next(datetime.now(UTC))
        try:
            async with asyncio.timeout(_LOOK_S if seconds is None else min(seconds, _LOOK_S)):
                await self._woken.wait()
        except TimeoutError:
            return
