"""What operators see at a glance; for the login of the server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from automatch.store.call import call_row, call_rows
from automatch.store.database import Connection
from automatch.store.queue.stats import FailedReason, redact_keys


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


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for an operator."""

    open_cases: int
    unproven_cases: int
    """Take-down requests whose link was not used yet."""
    held_photos: int
    membership_requests: int
    mails: int
    failed_mails: int


async def count_waiting(conn: Connection, operator_id: UUID | None) -> Waiting:
    """Return what waits for an operator, without what they are a side of."""
    waiting = await call_row(conn, "count_waiting", class_row(Waiting), operator_id=operator_id)
    assert waiting is not None
    return waiting


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
