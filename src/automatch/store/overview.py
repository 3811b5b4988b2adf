"""What operators see at a glance; for the login of the server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from psycopg.rows import class_row

from automatch.store.call import call_row, call_rows
from automatch.store.database import Connection
from automatch.store.stats import FailedReason, redact_keys


@dataclass(frozen=True, slots=True)
class JobRates:
    """Jobs that were queued and that ended."""

    queued_minute: int
    ended_minute: int
    queued_hour: int
    ended_hour: int


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """An entry of the cron schedule and its last run."""

    name: str
    schedule: str
    active: bool
    last_run_at: datetime | None
    status: str | None
    """`succeeded`, `failed`, `running` or another of pg_cron's words."""
    message: str | None
    took_s: float | None


async def load_job_rates(conn: Connection) -> JobRates:
    """Return how many jobs were queued and ended lately."""
    rates = await call_row(conn, "get_job_rates", class_row(JobRates))
    assert rates is not None
    return rates


async def list_failure_reasons(conn: Connection, age: timedelta) -> list[FailedReason]:
    """Return why jobs failed, the most frequent reason first; of jobs that are kept."""
    return await call_rows(conn, "list_failure_reasons", class_row(FailedReason), age=age)


async def list_schedule(conn: Connection) -> list[ScheduleEntry]:
    """Return the cron schedule; it is empty where neither pg_cron nor its replacement is."""
    entries = await call_rows(conn, "list_schedule", class_row(ScheduleEntry))
    return [
        replace(entry, message=entry.message and redact_keys(entry.message)) for entry in entries
    ]
