"""The clock of the stand-in for pg_cron: which job is due, and starting it.

As with pg_cron, jobs run side by side and no job overlaps with itself: what comes due meanwhile
runs once when the last run has ended. Unlike a queue, a clock has no memory: what came due while
nobody looked is not made up for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg.rows import class_row

from automatch.platform.job import Job, run_job
from automatch.platform.schedule import Schedule, parse_schedule
from automatch.store.database import Database
from automatch.store.queries import load

_SQL = load("cron")
_SIDE_BY_SIDE = 8
_LOOK_S = 30.0
"""Longest sleep: the machine's clock may be set, and a notification be lost."""
_LATE = timedelta(seconds=60)
"""A job that is later than this was missed: the machine slept, or nobody led."""


@dataclass
class _Planned:
    job: Job
    schedule: Schedule
    due: datetime | None
    came_due_again: bool = False


class Cron:
    """Runs the jobs of `cron.job` when they are due, until cancelled."""

    def __init__(self, db: Database, dsn: str) -> None:
        self._db = db
        self._dsn = dsn
        self._plans: dict[int, _Planned] = {}
        self._running: set[int] = set()
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
                now = datetime.now(UTC)
                self._plan(await self._load(), now)
                for plan in self._plans.values():
                    if self._is_due(plan, now):
                        self._running.add(plan.job.jobid)
                        group.create_task(self._run(plan.job))
                await self._sleep()

    async def _load(self) -> list[Job]:
        async with self._db.alone() as conn:
            cursor = conn.cursor(row_factory=class_row(Job))
            return await (await cursor.execute(_SQL["load_jobs"])).fetchall()

    def _plan(self, jobs: list[Job], now: datetime) -> None:
        old, self._plans = self._plans, {}
        for job in jobs:
            plan = old.get(job.jobid)
            if plan is None or plan.job.schedule != job.schedule:
                schedule = parse_schedule(job.schedule)
                plan = _Planned(job, schedule, schedule.next_after(now))
            plan.job = job
            self._plans[job.jobid] = plan

    def _is_due(self, plan: _Planned, now: datetime) -> bool:
        came_due = False
        if plan.due is not None and plan.due <= now:
            came_due = now - plan.due < _LATE
            plan.due = plan.schedule.next_after(now)
        came_due = came_due or plan.came_due_again
        plan.came_due_again = came_due and plan.job.jobid in self._running
        return came_due and not plan.came_due_again

    async def _run(self, job: Job) -> None:
        try:
            async with self._seats:
                await run_job(self._db, self._dsn, job)
        finally:
            self._running.discard(job.jobid)
            self.wake()

    async def _sleep(self) -> None:
        now = datetime.now(UTC)
        dues = [plan.due for plan in self._plans.values() if plan.due is not None]
        seconds = min([_LOOK_S, *((due - now).total_seconds() for due in dues)])
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._woken.wait()
        except TimeoutError:
            return
