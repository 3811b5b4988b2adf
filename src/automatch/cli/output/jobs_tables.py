"""The queue as a person reads it on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table

from automatch.model.jobs import AuditEntry, Queue, QueuedJob, StatusCount

_WIDE = 250
"""Columns where there is no terminal: nothing is cut off for whoever reads a pipe."""


def print_jobs(jobs: Sequence[QueuedJob]) -> None:
    """Print a line a job."""
    table = _table("job", "status", "school", "prio", "attempts", "matches", "created (UTC)", "why")
    for job in jobs:
        table.add_row(
            str(job.id),
            _status(job),
            _plain(job.school),
            str(job.priority),
            f"{job.attempts}/{job.max_attempts}",
            _or_dash(job.match_count),
            _time(job.created_at),
            job.error["code"] if job.error else "",
        )
    _print(table, "No such job.")


def print_job(job: QueuedJob) -> None:
    """Print all that is known of a job."""
    table = _table("", "", header=False)
    error = f"{job.error['code']}: {job.error['message']}" if job.error else "-"
    for name, value in {
        "job": job.id,
        "status": _status(job),
        "face": job.face_id,
        "person": job.user_id,
        "school": _plain(job.school),
        "priority": job.priority,
        "attempts": f"{job.attempts} of {job.max_attempts}",
        "error": error,
        "matches": _or_dash(job.match_count),
        "threshold": _or_dash(job.threshold),
        "created (UTC)": _time(job.created_at),
        "runs from": _time(job.run_at),
        "started": _time(job.started_at),
        "ended": _time(job.completed_at),
        "worker": _or_dash(job.worker_id),
        "lease until": _time(job.lease_expires_at),
        "claimed alone": "yes, a worker was lost with it" if job.isolated else "no",
        "timings": json.dumps(job.timings),
    }.items():
        table.add_row(name, str(value))
    _print(table, "")


def print_queue(queue: Queue, statuses: Sequence[StatusCount]) -> None:
    """Print the queue at a glance, then a line a status."""
    glance = _table("", "", header=False)
    for name, value in {
        "queue": "paused" if queue.paused else "open",
        "paused schools": ", ".join(_plain(school) for school in queue.paused_schools) or "-",
        "jobs a worker may hold": _or_dash(queue.concurrency),
        "waiting for a turn": queue.waiting,
        "waiting for a time": queue.scheduled,
        "processing": queue.processing,
        "leases run out": queue.expired_leases,
        "workers at work": queue.workers,
        "oldest waits, s": _seconds(queue.oldest_waiting_s),
    }.items():
        glance.add_row(name, str(value))
    _print(glance, "")
    table = _table("status", "jobs", "oldest (UTC)", "average to the end, s")
    for row in statuses:
        table.add_row(
            row.status.value,
            str(row.count),
            _time(row.oldest_created_at),
            _seconds(row.avg_seconds),
        )
    _print(table, "There are no jobs.")


def print_audit(entries: Sequence[AuditEntry]) -> None:
    """Print a line an act."""
    table = _table("when (UTC)", "who", "did", "details")
    for entry in entries:
        table.add_row(
            _time(entry.recorded_at),
            _plain(entry.actor),
            entry.action,
            _plain(json.dumps(entry.details, ensure_ascii=False)),
        )
    _print(table, "Nobody has done anything yet.")


def _table(*columns: str, header: bool = True) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=header, pad_edge=False)
    for column in columns:
        # An id that is broken in two cannot be copied.
        table.add_column(column, no_wrap=column == "job", overflow="fold")
    return table


def _print(table: Table, nothing: str) -> None:
    # Names of schools are what people typed: no markup, no colours, no emoji.
    console = Console(
        markup=False,
        highlight=False,
        emoji=False,
        width=None if sys.stdout.isatty() else _WIDE,
    )
    console.print(table if table.row_count else nothing)


def _status(job: QueuedJob) -> str:
    if job.scheduled:
        return "pending, later" if job.run_at else "pending, paused"
    return job.status.value


def _plain(text: str) -> str:
    # What would move the cursor of a terminal.
    return "".join(char if char.isprintable() else "?" for char in text)


def _time(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
