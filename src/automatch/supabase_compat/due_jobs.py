"""Which job is due: the part of the clock that only reckons.

As with pg_cron, no job overlaps with itself: what comes due meanwhile runs once when the last run
has ended. A clock has no memory: what came due while nobody looked is not made up for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from automatch.supabase_compat.cron_expression import Schedule, parse_schedule
from automatch.supabase_compat.cron_job import Job

_LATE = timedelta(seconds=60)
"""A job that is later than this was missed: the machine slept, or nobody led."""


@dataclass
class _Entry:
    job: Job
    schedule: Schedule
    due: datetime | None
    came_due_again: bool = False


class Timetable:
    """The jobs there are, when each is due, and which of them run."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._running: set[int] = set()

    def update(self, jobs: Iterable[Job], now: datetime) -> None:
        """Take over what changed; a job that stays as it was keeps its time."""
        old, self._entries = self._entries, {}
        for job in jobs:
            entry = old.get(job.jobid)
            if entry is None or entry.job.schedule != job.schedule:
                schedule = parse_schedule(job.schedule)
                entry = _Entry(job, schedule, schedule.next_after(now))
            entry.job = job
            self._entries[job.jobid] = entry

    def start_due(self, now: datetime) -> list[Job]:
        """Return the jobs to run now; they count as running until `ended`."""
        due = [entry.job for entry in self._entries.values() if self._is_due(entry, now)]
        self._running |= {job.jobid for job in due}
        return due

    def ended(self, job: Job) -> None:
        """Note that a run is over."""
        self._running.discard(job.jobid)

    def seconds_to_next(self, now: datetime) -> float | None:
        """Return how long nothing is due; None when nothing ever is."""
        dues = [entry.due for entry in self._entries.values() if entry.due is not None]
        return max((min(dues) - now).total_seconds(), 0) if dues else None

    def _is_due(self, entry: _Entry, now: datetime) -> bool:
        came_due = entry.came_due_again
        if entry.due is not None and entry.due <= now:
            came_due = came_due or now - entry.due < _LATE
            entry.due = entry.schedule.next_after(now)
        entry.came_due_again = came_due and entry.job.jobid in self._running
        return came_due and not entry.came_due_again
