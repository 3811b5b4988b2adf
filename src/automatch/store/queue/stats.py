"""Statistics: what the dashboards and monitoring queries of the guide show.

For a connection of the owner, who sees the schedule too. The results are ids, counts, times and
reasons: no names, schools or photos, and no command of the schedule, which may contain a key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from psycopg.rows import class_row

from automatch.model.jobs import Queue, StatusCount
from automatch.sql.statements import load
from automatch.store.call import call_rows, call_value
from automatch.store.database import Connection
from automatch.store.queue import queue_admin

_SQL = load("stats")
_KEYS = re.compile(r"eyJ[\w-]+(?:\.[\w-]+)*|(?:sb_secret_|amt_)\w+|Bearer\s+\S+")
_MESSAGE_CHARS = 200

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from the upload on, of the stored jobs; None without any."""

    jobs: int
    average_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class Rate:
    """Jobs that were queued and that ended."""

    queued_minute: int
    ended_minute: int
    queued_hour: int
    ended_hour: int
    queued_day: int
    ended_day: int


@dataclass(frozen=True, slots=True)
class RecentJob:
    """A row of the guide's "recent jobs"."""

    id: UUID
    status: str
    attempts: int
    created_at: datetime
    completed_at: datetime | None
    took_s: float | None
    code: str | None


@dataclass(frozen=True, slots=True)
class StuckErasures:
    """Deleted photos whose files still exist after a minute, for one reason."""

    error: str | None
    """None when nobody has tried to delete them yet."""
    photos: int


@dataclass(frozen=True, slots=True)
class FailedReason:
    """Why jobs failed."""

    code: str
    jobs: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class FaultSummary:
    """Why workers have paused; no job is the cause of it."""

    message: str
    workers: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Scheduled:
    """An entry of the cron schedule."""

    name: str
    schedule: str
    active: bool
    last_run_at: datetime | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an entry."""

    name: str
    status: str | None
    message: str | None
    started_at: datetime | None
    took_s: float | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """An overview of the installation."""

    queue: Queue
    statuses: list[StatusCount]
    workers: int
    """Connected workers, busy or idle."""
    faults: list[FaultSummary]
    times: Times
    to_screen: Times
    """From the upload to the first match on the uploader's page, of those whose page was open."""
    rate: Rate
    recent: list[RecentJob]
    failed: list[FailedReason]
    photos_not_erased: int
    """Deleted photos whose files still exist after a minute."""
    schedule: list[Scheduled] | None
    """None where neither pg_cron nor its replacement is installed."""
    runs: list[Run]
    replica: ReplicaStatus | None = None
    """None without a replica."""


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """How far the replica is behind the primary."""

    lag_s: float | None
    """None when it does not keep up, or does not answer: then the primary answers for it."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An event."""

    at: datetime
    source: str
    """`worker`, `function` or `schedule`."""
    event: str
    subject: str
    """The id of a job, a request or a run."""
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Extensions:
    has_cron: bool
    has_net: bool


async def make_read_only(conn: Connection) -> None:
    """Let the session write nothing and wait for no lock from now on."""
    await conn.execute(_SQL["be_careful"])


async def count_workers(conn: Connection) -> int:
    """Return how many workers are connected to this database."""
    return int(await call_value(conn, "count_workers"))


async def list_worker_faults(conn: Connection) -> list[FaultSummary]:
    """Return why workers have paused, what most of them met first."""
    return await call_rows(conn, "list_worker_faults", class_row(FaultSummary))


async def list_stuck_erasures(conn: Connection) -> list[StuckErasures]:
    """Return the deleted photos whose files still exist after a minute, by reason."""
    return await _all(conn, StuckErasures, "stuck_erasures")


async def load_statistics(conn: Connection, *, recent: int) -> Statistics:
    """Return what `automatch stats` shows, with the newest *recent* jobs and schedule runs."""
    extensions = await _load_extensions(conn)
    schedule = await _all(conn, Scheduled, "schedule") if extensions.has_cron else None
    runs = await _all(conn, Run, "runs", limit=recent) if extensions.has_cron else []
    return Statistics(
        queue=await queue_admin.load_queue(conn),
        statuses=await queue_admin.count_jobs(conn),
        workers=await count_workers(conn),
        faults=await list_worker_faults(conn),
        times=(await _all(conn, Times, "times"))[0],
        to_screen=(await _all(conn, Times, "to_screen"))[0],
        rate=(await _all(conn, Rate, "rate"))[0],
        recent=await _all(conn, RecentJob, "recent", limit=recent),
        failed=await _all(conn, FailedReason, "failed"),
        photos_not_erased=sum(row.photos for row in await list_stuck_erasures(conn)),
        schedule=schedule,
        runs=[replace(run, message=redact_keys(run.message or "")) for run in runs],
    )


async def read_log(
    conn: Connection, *, limit: int, after: datetime | None = None
) -> list[LogEntry]:
    """Return the latest *limit* events after *after*, oldest first."""
    extensions = await _load_extensions(conn)
    names = ["log_of_jobs"]
    names += ["log_of_runs"] if extensions.has_cron else []
    names += ["log_of_calls"] if extensions.has_net else []
    entries = [
        entry
        for name in names
        for entry in await _all(conn, LogEntry, name, limit=limit, after=after)
    ]
    newest = sorted(entries, key=lambda entry: (entry.at, entry.source, entry.subject))[-limit:]
    return [
        replace(
            entry,
            details={
                name: redact_keys(value) if isinstance(value, str) else value
                for name, value in entry.details.items()
            },
        )
        for entry in newest
    ]


def redact_keys(text: str) -> str:
    """Return the beginning of a database message, with anything that looks like a key removed."""
    return _KEYS.sub("(a key)", text)[:_MESSAGE_CHARS]


async def _load_extensions(conn: Connection) -> _Extensions:
    (extensions,) = await _all(conn, _Extensions, "parts")
    return extensions


async def _all(conn: Connection, kind: type[_T], name: str, **parameters: object) -> list[_T]:
    async with conn.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(_SQL[name], parameters)
        return await cursor.fetchall()
