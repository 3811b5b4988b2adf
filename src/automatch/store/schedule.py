"""The schedule: cron jobs as operators see and change them; for the owner's login."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from automatch.sql.statements import load
from automatch.store.call import call, call_value
from automatch.store.database import Connection

_SQL = load("schedule")
_CRON = load("cron")


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A cron job and its last run."""

    jobid: int
    name: str | None
    schedule: str
    active: bool
    username: str
    last_run_at: datetime | None
    last_status: str | None
    last_message: str | None
    ignores_seconds: bool
    """Whether pg_cron runs it at other times than it says: it ignores a sixth field."""


async def has_cron(conn: Connection) -> bool:
    """Return whether pg_cron or its replacement is installed."""
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


async def set_schedule(conn: Connection, schedule: str, url: str, actor: str) -> None:
    """Set when pending jobs are processed; *url* is used if there is no such cron job yet."""
    job = await (await conn.execute(_SQL["find"])).fetchone()
    if job is None:
        # Only then: a server on another port than this command thinks has put its own address in.
        await call(conn, "automatch.ensure_match_schedule", url=url)
        job = await (await conn.execute(_SQL["find"])).fetchone()
    if job is None:
        command = await call_value(conn, "automatch.match_generator_command", url=url)
    else:
        command = job[1]
    cursor = await conn.execute(_SQL["set"], {"schedule": schedule, "command": command})
    made = await cursor.fetchone()
    assert made is not None
    await conn.execute(_SQL["set_active"], {"jobid": made[0], "active": True})
    await _audit(conn, actor, {"schedule": schedule})


async def pause_schedule(conn: Connection, actor: str) -> bool:
    """Deactivate the cron job that processes pending jobs; False when there is none."""
    job = await (await conn.execute(_SQL["find"])).fetchone()
    if job is None:
        return False
    await conn.execute(_SQL["set_active"], {"jobid": job[0], "active": False})
    await _audit(conn, actor, {"active": False})
    return True


async def rotate_trigger_key(conn: Connection, actor: str) -> None:
    """Create a new key for the schedule; the old one is no longer valid."""
    await call(conn, "automatch.rotate_trigger_key")
    await _audit(conn, actor, {"key": "rotated"})


async def _audit(conn: Connection, actor: str, details: dict[str, object]) -> None:
    await call(conn, "automatch.audit", actor=actor, action="schedule", details=Jsonb(details))
