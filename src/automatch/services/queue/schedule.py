"""The cron jobs, for operators: what runs when, how it went, and running one now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from automatch.errors.request import InputInvalidError, NotFoundError
from automatch.model.operators import Operator
from automatch.services.operators.acts import Act, authorized, looking_at_system
from automatch.store.database import Database
from automatch.store.queue import schedule as store
from automatch.store.queue.schedule import ScheduleEntry, ScheduleRun
from automatch.supabase_compat.cron_expression import parse_schedule
from automatch.supabase_compat.cron_job import run_job_now

_FIELDS = 5


@dataclass(frozen=True, slots=True)
class ScheduleHistory:
    """A cron job and its runs."""

    entry: ScheduleEntry
    runs: Sequence[ScheduleRun]


def next_times(schedule: str, now: datetime, count: int = 3) -> list[datetime]:
    """Return the next times of a schedule in UTC.

    Raises:
        InputInvalidError: it is none, or names a time that never comes.
    """
    times = preview_times(schedule, now, count)
    if not times or not _is_plain(schedule):
        raise InputInvalidError(
            f"'{schedule}' is no schedule: give minute, hour, day, month and weekday, such as "
            "`*/5 * * * *`, or `30 seconds`."
        )
    return times


def preview_times(schedule: str, now: datetime, count: int = 3) -> list[datetime]:
    """Return the next times of a schedule in UTC, as many as there are."""
    parsed = parse_schedule(schedule)
    times: list[datetime] = []
    while len(times) < count and (found := parsed.next_after(times[-1] if times else now)):
        times.append(found)
    return times


def _is_plain(schedule: str) -> bool:
    # pg_cron ignores a sixth field.
    return len(schedule.split()) in {_FIELDS, 2} or schedule.strip().startswith("@")


async def list_schedule(db: Database, operator: Operator) -> list[ScheduleEntry]:
    """Return the cron jobs; none where no schedule can be used.

    Raises:
        ForbiddenError: see `looking_at_system`.
    """
    async with looking_at_system(db, operator) as conn:
        return await store.list_schedule(conn)


async def load_history(
    db: Database, operator: Operator, name: str, limit: int = 50
) -> ScheduleHistory:
    """Return a cron job and its runs, newest first.

    Raises:
        NotFoundError: there is no such job.
        ForbiddenError: see `looking_at_system`.
    """
    async with looking_at_system(db, operator) as conn:
        entry = _find(await store.list_schedule(conn), name)
        return ScheduleHistory(entry, await store.list_runs(conn, name, limit))


async def change_schedule(
    db: Database,
    operator: Operator,
    name: str,
    *,
    schedule: str | None = None,
    active: bool | None = None,
) -> None:
    """Run a cron job at other times, or switch it on or off; None leaves a value as it is.

    Raises:
        InputInvalidError: *schedule* is none.
        NotFoundError: there is no such job.
        ForbiddenError: see `authorized`.
    """
    if schedule is not None:
        schedule = " ".join(schedule.split())
        next_times(schedule, datetime.now(UTC))
    changes = {"schedule": schedule, "active": active}
    details = {"job": name} | {key: new for key, new in changes.items() if new is not None}
    async with authorized(db, operator, Act.CHANGE_SCHEDULE, details=details) as conn:
        await store.change_schedule(conn, name, schedule=schedule, active=active)


async def run_now(db: Database, operator: Operator, name: str, schedule_dsn: str) -> None:
    """Run a cron job once, with the login of the schedule, and wait until it has ended.

    Raises:
        InputInvalidError: it is off, runs already, or pg_cron itself runs it.
        NotFoundError: there is no such job.
        ForbiddenError: see `authorized`.
    """
    async with authorized(db, operator, Act.RUN_SCHEDULE, details={"job": name}) as conn:
        entry = _find(await store.list_schedule(conn), name)
        if entry.id is None or not entry.active:
            raise InputInvalidError(f"{name} is off; switch it on first.")
    await run_job_now(schedule_dsn, entry.id)


def _find(entries: Sequence[ScheduleEntry], name: str) -> ScheduleEntry:
    for entry in entries:
        if entry.name == name:
            return entry
    raise NotFoundError("The schedule has no job of this name.")
