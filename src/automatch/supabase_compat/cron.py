"""Starting cron jobs when they are due, where pg_cron is not installed.

As with pg_cron, a job never runs twice at once: if it becomes due while it runs, it runs once more
afterwards. Times that pass while nothing runs the schedule are not caught up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from psycopg.rows import class_row

from automatch.sql.statements import load
from automatch.store.database import Database
from automatch.supabase_compat.cron_expression import Schedule, parse_schedule
from automatch.supabase_compat.cron_job import Job, run_job

_SQL = load("cron")
_MAX_RUNNING = 16
_POLL_S = 30.0
"""Longest time between two polls: the clock may be set, and a notification may be lost."""
_MAX_DELAY = timedelta(seconds=60)
"""A run that is later than this is skipped: the machine slept, or no server was the leader."""

log = structlog.get_logger(__name__)


@dataclass
class _Entry:
    job: Job
    schedule: Schedule
    due: datetime | None
    is_due_again: bool = False


class CronTable:
    """All jobs, when each is due next, and which of them run."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._running: set[int] = set()
        self._updated_at: datetime | None = None

    def update(self, jobs: Iterable[Job], now: datetime) -> None:
        """Replace the jobs; one whose schedule has not changed keeps its next time."""
        # After a clock was set back, the next times would come hours too late.
        is_set_back = self._updated_at is not None and now < self._updated_at - _MAX_DELAY
        old, self._entries = {} if is_set_back else self._entries, {}
        self._updated_at = now
        for job in jobs:
            entry = old.get(job.jobid)
            if entry is None or entry.job.schedule != job.schedule:
                schedule = parse_schedule(job.schedule)
                entry = _Entry(job, schedule, schedule.next_after(now))
            entry.job = job
            self._entries[job.jobid] = entry

    def start_due(self, now: datetime) -> list[Job]:
        """Return the jobs to run now; each counts as running until `finish` is called."""
        due = [entry.job for entry in self._entries.values() if self._is_due(entry, now)]
        self._running |= {job.jobid for job in due}
        return due

    def finish(self, job: Job) -> None:
        """Note that a run is over."""
        self._running.discard(job.jobid)

    def seconds_to_next(self, now: datetime) -> float | None:
        """Return the seconds until a job is due; None when none ever is."""
        times = [entry.due for entry in self._entries.values() if entry.due is not None]
        return max((min(times) - now).total_seconds(), 0) if times else None

    def _is_due(self, entry: _Entry, now: datetime) -> bool:
        is_due = entry.is_due_again
        if entry.due is not None and entry.due <= now:
            is_due = is_due or now - entry.due < _MAX_DELAY
            entry.due = entry.schedule.next_after(now)
        entry.is_due_again = is_due and entry.job.jobid in self._running
        return is_due and not entry.is_due_again


class CronScheduler:
    """Runs the jobs of `cron.job` when they are due, until cancelled."""

    def __init__(self, db: Database, dsn: str) -> None:
        self._db = db
        self._dsn = dsn
        self._table = CronTable()
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(_MAX_RUNNING)

    def wake(self) -> None:
        """Load the jobs again: one has changed."""
        self._woken.set()

    async def run(self) -> None:
        """Start the jobs that are due until cancelled.

        Raises:
            StoreError: the database does not answer.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                jobs = await self._load()
                now = datetime.now(UTC)
                self._table.update(jobs, now)
                for job in self._table.start_due(now):
                    group.create_task(self._run(job))
                await self._sleep()

    async def _load(self) -> list[Job]:
        async with self._db.connection() as conn:
            cursor = conn.cursor(row_factory=class_row(Job))
            return await (await cursor.execute(_SQL["load_jobs"])).fetchall()

    async def _run(self, job: Job) -> None:
        try:
            if self._slots.locked():
                log.warning("cron job waits: too many run", jobid=job.jobid, running=_MAX_RUNNING)
            async with self._slots:
                await run_job(self._db, self._dsn, job)
        except Exception:
            # One that cannot be recorded is no reason to end the others.
            log.exception("cron job failed", jobid=job.jobid)
        finally:
            self._table.finish(job)
            self.wake()

    async def _sleep(self) -> None:
        seconds = self._table.seconds_to_next(datetime.now(UTC))
        try:
            async with asyncio.timeout(_POLL_S if seconds is None else min(seconds, _POLL_S)):
                await self._woken.wait()
        except TimeoutError:
            return
