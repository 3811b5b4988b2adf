"""The schedule: cron jobs as operators see and change them.

`list_schedule`, `list_runs` and `change_schedule` are for the API's login, the others for the
owner's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from automatch.errors.request import InputInvalidError
from automatch.sql.statements import load
from automatch.store.call import call, call_rows, call_value
from automatch.store.database import Connection
from automatch.store.queue.stats import redact_keys

_SQL = load("schedule")
_CRON = load("cron")


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A cron job and its last run."""

    jobid: int | None
    """None when it is unscheduled."""
    name: str | None
    schedule: str
    active: bool
    username: str
    last_run_at: datetime | None
    last_status: str | None
    last_message: str | None
    ignores_seconds: bool
    """Whether pg_cron runs it at other times than it says: it ignores a sixth field."""


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """A cron job of the owner, as the console shows it."""

    name: str | None
    id: int | None
    """None while it is off."""
    schedule: str
    command: str
    """As far as it holds no key."""
    active: bool
    ignores_seconds: bool
    """Whether pg_cron runs it at other times than it says: it ignores a sixth field."""
    last_run_at: datetime | None
    last_status: str | None
    last_message: str | None


@dataclass(frozen=True, slots=True)
class ScheduleRun:
    """One run of a cron job."""

    started_at: datetime | None
    took_s: float | None
    status: str | None
    message: str | None


async def list_schedule(conn: Connection) -> list[ScheduleEntry]:
    """Return the cron jobs of the owner; none where no schedule can be used."""
    entries = await call_rows(conn, "list_cron_jobs", class_row(ScheduleEntry))
    return [replace(entry, last_message=_redact(entry.last_message)) for entry in entries]


async def list_runs(conn: Connection, name: str, limit: int = 50) -> list[ScheduleRun]:
    """Return the runs of a cron job, newest first."""
    runs = await call_rows(conn, "list_cron_runs", class_row(ScheduleRun), name=name, limit=limit)
    return [replace(run, message=_redact(run.message)) for run in runs]


async def change_schedule(
    conn: Connection, name: str, *, schedule: str | None = None, active: bool | None = None
) -> None:
    """Run a cron job at other times, or switch it on or off; None leaves a value as it is.

    Raises:
        NotFoundError: there is no such job.
        InputInvalidError: this pg_cron does not take *schedule*.
    """
    try:
        await call(conn, "change_cron_job", name=name, schedule=schedule, active=active)
    except psycopg.errors.InvalidParameterValue as exc:
        raise InputInvalidError(
            f"The schedule '{schedule}' is not taken: give five fields, or '30 seconds'."
        ) from exc


def _redact(message: str | None) -> str | None:
    return None if message is None else redact_keys(message)


async def has_cron(conn: Connection) -> bool:
    """Return whether pg_cron or its replacement is there for this login to use."""
    row = await (await conn.execute(_SQL["is_there"])).fetchone()
    return bool(row and row[0])


async def sends_http_requests(conn: Connection) -> bool:
    """Return whether Auto-Match sends the HTTP requests itself, instead of pg_net."""
    row = await (await conn.execute(_CRON["stand_ins"])).fetchone()
    return bool(row and row[1])


async def list_scheduled(conn: Connection) -> list[ScheduledJob]:
    """Return all cron jobs, oldest first."""
    cursor = conn.cursor(row_factory=class_row(ScheduledJob))
    return await (await cursor.execute(_SQL["list"])).fetchall()


async def set_schedule(
    conn: Connection, schedule: str, url: str, actor: str, *, replace: bool = False
) -> bool:
    """Set when pending jobs are processed.

    The *url* is used if there is no such cron job yet, or to *replace* the command of the one there
    is, whoever wrote it.

    Returns:
        False without pg_cron, pg_net and Vault, or what stands in for them.

    Raises:
        InputInvalidError: this pg_cron does not take *schedule*.
    """
    arguments = {"schedule": schedule, "url": url, "replace": replace}
    try:
        if not await call_value(conn, "automatch.set_match_schedule", **arguments):
            return False
    except psycopg.errors.InvalidParameterValue as exc:
        raise InputInvalidError(
            f"This pg_cron does not take '{schedule}': seconds need version 1.5 or newer."
        ) from exc
    await _audit(conn, actor, {"schedule": schedule, "replaced": replace or None})
    return True


async def pause_schedule(conn: Connection, actor: str) -> bool:
    """Unschedule the cron job that processes pending jobs; False when there never was one."""
    if not await call_value(conn, "automatch.set_match_schedule", schedule=None, url=None):
        return False
    await _audit(conn, actor, {"active": False})
    return True


async def rotate_trigger_key(conn: Connection, actor: str) -> None:
    """Create a new key for the schedule; the old one is no longer valid."""
    await call(conn, "automatch.rotate_trigger_key")
    await _audit(conn, actor, {"key": "rotated"})


async def _audit(conn: Connection, actor: str, details: dict[str, object]) -> None:
    await call(conn, "automatch.audit", actor=actor, action="schedule", details=Jsonb(details))
