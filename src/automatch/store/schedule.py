"""The schedule: cron jobs as an operator sees and sets them. For the owner's login."""

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
    """A cron job, and how its last run went."""

    jobid: int
    name: str | None
    schedule: str
    active: bool
    username: str
    last_run_at: datetime | None
    last_status: str | None
    last_message: str | None
    is_misread: bool
    """Whether pg_cron takes the schedule for another one: it ignores a sixth field."""


async def has_cron(conn: Connection) -> bool:
    """Tell whether there is pg_cron, or what stands in for it."""
    row = await (await conn.execute(_SQL["is_there"])).fetchone()
    return bool(row and row[0])


async def sends_itself(conn: Connection) -> bool:
    """Tell whether Auto-Match sends the requests, on its own machine, and not pg_net."""
    row = await (await conn.execute(_CRON["stand_ins"])).fetchone()
    return bool(row and row[1])


async def list_scheduled(conn: Connection) -> list[ScheduledJob]:
    """Return all cron jobs, in the order in which they were made."""
    cursor = conn.cursor(row_factory=class_row(ScheduledJob))
    return await (await cursor.execute(_SQL["list"])).fetchall()


async def set_schedule(conn: Connection, schedule: str, url: str, actor: str) -> None:
    """Have waiting jobs done at these times; *url* is used where there is no such job yet."""
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
    await _write_down(conn, actor, {"schedule": schedule})


async def rest_schedule(conn: Connection, actor: str) -> bool:
    """Let the job of waiting jobs rest; False when there is none."""
    job = await (await conn.execute(_SQL["find"])).fetchone()
    if job is None:
        return False
    await conn.execute(_SQL["set_active"], {"jobid": job[0], "active": False})
    await _write_down(conn, actor, {"active": False})
    return True


async def rotate_trigger_key(conn: Connection, actor: str) -> None:
    """Make a new key for the schedule; the old one is worth nothing any more."""
    await call(conn, "automatch.rotate_trigger_key")
    await _write_down(conn, actor, {"key": "rotated"})


async def _write_down(conn: Connection, actor: str, details: dict[str, object]) -> None:
    await call(conn, "automatch.audit", actor=actor, action="schedule", details=Jsonb(details))
