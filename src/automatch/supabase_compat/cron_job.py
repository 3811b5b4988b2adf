"""Running a cron job: on its own connection, as the login of the schedule, with a log row."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import class_row

from automatch.errors.request import InputInvalidError
from automatch.postgres.addresses import SCHEDULE_LOGIN
from automatch.settings.connections import SCHEDULE_POOL
from automatch.sql.statements import load
from automatch.store.database import Database

_SQL = load("cron")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `cron.job`."""

    jobid: int
    schedule: str
    command: str
    username: str
    is_owners: bool
    """Whether the owner scheduled it."""


async def run_job_now(dsn: str, job_id: int) -> None:
    """Run a job once, as the schedule does, and record the run.

    Raises:
        InputInvalidError: it is off or runs already, or pg_cron itself runs the jobs.
        StoreError: the run could not be recorded.
    """
    async with Database(dsn, SCHEDULE_POOL, name="automatch-schedule") as db:
        async with db.connection() as conn:
            row = await (await conn.execute(_SQL["stand_ins"])).fetchone()
            if row is None or not row[0]:
                raise InputInvalidError(
                    "pg_cron runs its jobs itself; call what this one calls in an SQL editor."
                )
            cursor = conn.cursor(row_factory=class_row(Job))
            jobs = await (await cursor.execute(_SQL["load_jobs"])).fetchall()
        found = [job for job in jobs if job.jobid == job_id]
        if not found or not await run_job(db, dsn, found[0]):
            raise InputInvalidError("This job runs already, or is off.")


async def run_job(db: Database, dsn: str, job: Job) -> bool:
    """Run *job* and record the run, however it ends; False when its last run has not ended.

    A command runs in a session that a login of few rights opened, never in another's with `set
    session authorization`, which the command itself could undo. Cancelling this cancels the
    statement too.

    Raises:
        StoreError: the run could not be recorded.
    """
    if not job.is_owners:
        message = (
            f"Auto-Match runs the jobs of the owner alone, and not those of {job.username}; "
            "schedule this job as the owner of the database."
        )
        await _end(db, await _begin(db, job, None, "failed"), "failed", message)
        return True
    try:
        conn = await AsyncConnection.connect(
            dsn, autocommit=True, connect_timeout=10, application_name=f"automatch job {job.jobid}"
        )
    except psycopg.OperationalError as exc:
        await _end(db, await _begin(db, job, None, "failed"), "failed", f"connection failed: {exc}")
        return True
    async with conn:
        if not await _lock(conn, job):
            log.warning("job not run: its last run has not ended", jobid=job.jobid)
            return False
        run = await _begin(db, job, conn.info.backend_pid, "running")
        try:
            status, message = "succeeded", await _execute(conn, job.command)
        except psycopg.Error as exc:
            status, message = "failed", f"{exc.diag.severity or 'ERROR'}:  {exc}"
            if isinstance(exc, psycopg.errors.InsufficientPrivilege):
                message += f"\nJobs run as {SCHEDULE_LOGIN}: grant it what this one needs."
        await _unlock(conn)
    await _end(db, run, status, message)
    return True


async def _lock(conn: AsyncConnection[Any], job: Job) -> bool:
    row = await (await conn.execute(_SQL["hold_job"], {"jobid": job.jobid})).fetchone()
    return bool(row and row[0])


async def _unlock(conn: AsyncConnection[Any]) -> None:
    """Let the next run begin at once: Postgres ends a session some time after it was closed."""
    # A session that has ended holds nothing.
    with suppress(psycopg.Error):
        # What the command has begun.
        await conn.rollback()
        await conn.execute(_SQL["free_job"])


async def _execute(conn: AsyncConnection[Any], command: str) -> str:
    # Without parameters it is one simple query, so several statements are one transaction.
    cursor = await conn.execute(command.encode())
    while cursor.nextset():
        pass
    if cursor.description is None:
        return cursor.statusmessage or "0 rows"
    return f"{cursor.rowcount} row{'' if cursor.rowcount == 1 else 's'}"


async def _begin(db: Database, job: Job, pid: int | None, status: str) -> int:
    async with db.connection() as conn:
        cursor = await conn.execute(
            _SQL["begin_run"],
            {
                "jobid": job.jobid,
                "pid": pid,
                "username": job.username,
                "command": job.command,
                "status": status,
            },
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def _end(db: Database, run: int, status: str, message: str) -> None:
    async with db.connection() as conn:
        await conn.execute(_SQL["end_run"], {"runid": run, "status": status, "message": message})
