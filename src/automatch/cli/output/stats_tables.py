"""Statistics as a person reads them on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from automatch.store.stats import Rate, RecentJob, Scheduled, Statistics

_WIDE = 160


def console() -> Console:
    """Return where tables go; nothing is cut off for whoever reads a pipe."""
    return Console(
        markup=False,
        highlight=False,
        emoji=False,
        width=None if sys.stdout.isatty() else _WIDE,
    )


def as_tables(shown: Statistics) -> Group:
    """Return everything, one table below the other; what has no rows is left out."""
    tables = [
        _glance(shown),
        _table(
            ("status", "jobs", "average to the end, s"),
            ((row.status.value, row.count, _seconds(row.avg_seconds)) for row in shown.statuses),
        ),
        _rate(shown.rate),
        _table(
            ("recent job", "status", "attempts", "created (UTC)", "took, s", "why"),
            (_job(job) for job in shown.recent),
        ),
        _table(
            ("failed because of", "jobs", "last (UTC)"),
            ((one.code, one.jobs, _time(one.last_at)) for one in shown.failed),
        ),
        *_schedule(shown),
    ]
    return Group(*(one for one in tables if isinstance(one, Text) or one.row_count))


def _glance(shown: Statistics) -> Table:
    queue, times = shown.queue, shown.times
    rows = {
        "queue": "paused" if queue.paused else "open",
        "workers connected": shown.workers,
        "jobs that wait": queue.waiting,
        "jobs worked on": queue.processing,
        "oldest waits, s": _seconds(queue.oldest_waiting_s),
        "upload to end, average s": _seconds(times.average_s),
        "half / 95 / 99 of 100 within, s": " / ".join(
            _seconds(value) for value in (times.p50_s, times.p95_s, times.p99_s)
        ),
    }
    return _table(("", ""), rows.items(), header=False)


def _rate(rate: Rate) -> Table:
    return _table(
        ("in the last", "queued", "ended"),
        (
            ("minute", rate.queued_minute, rate.ended_minute),
            ("hour", rate.queued_hour, rate.ended_hour),
            ("day", rate.queued_day, rate.ended_day),
        ),
    )


def _schedule(shown: Statistics) -> list[Table | Text]:
    if shown.schedule is None:
        return [Text("Nothing is scheduled: pg_cron is not installed, and not needed.")]
    return [
        _table(
            ("scheduled", "when", "active", "last run (UTC)"),
            (_entry(one) for one in shown.schedule),
        ),
        _table(
            ("run of", "status", "started (UTC)", "took, s", "message"),
            (
                (
                    run.name,
                    run.status or "",
                    _time(run.started_at),
                    _seconds(run.took_s),
                    run.message or "",
                )
                for run in shown.runs
            ),
        ),
    ]


def _job(job: RecentJob) -> tuple[object, ...]:
    created = _time(job.created_at)
    return job.id, job.status, job.attempts, created, _seconds(job.took_s), job.code or ""


def _entry(one: Scheduled) -> tuple[object, ...]:
    return one.name, one.schedule, "yes" if one.active else "no", _time(one.last_run_at)


def _table(
    head: tuple[str, ...], rows: Iterable[tuple[object, ...]], *, header: bool = True
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=header, pad_edge=False)
    for column in head:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(str(cell)) for cell in row))
    return table


def _plain(text: str) -> str:
    # What would move the cursor of a terminal.
    return "".join(char if char.isprintable() else " " for char in text)


def _time(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
