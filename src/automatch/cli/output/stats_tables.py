"""Tables of the statistics."""

from __future__ import annotations

from automatch.cli.output.tables import Table, seconds, utc
from automatch.store.queue.stats import Statistics, Times


def as_tables(stats: Statistics) -> list[Table]:
    """Return all statistics; tables without rows and without a sentence are left out."""
    rate = stats.rate
    tables = [
        _summary(stats),
        Table(
            ("status", "jobs", "average duration, s"),
            [(row.status.value, row.count, seconds(row.avg_seconds)) for row in stats.statuses],
        ),
        Table(
            ("in the last", "queued", "ended"),
            [
                ("minute", rate.queued_minute, rate.ended_minute),
                ("hour", rate.queued_hour, rate.ended_hour),
                ("day", rate.queued_day, rate.ended_day),
            ],
        ),
        Table(
            ("recent job", "status", "attempts", "created (UTC)", "took, s", "error"),
            [
                (
                    job.id,
                    job.status,
                    job.attempts,
                    utc(job.created_at),
                    seconds(job.took_s),
                    job.code or "-",
                )
                for job in stats.recent
            ],
            optional_columns=("created (UTC)", "took, s", "attempts"),
        ),
        Table(
            ("failed with", "jobs", "last (UTC)"),
            [(failure.code, failure.jobs, utc(failure.last_at)) for failure in stats.failed],
        ),
        Table(
            ("workers have paused", "workers", "since (UTC)"),
            [(fault.message, fault.workers, utc(fault.since)) for fault in stats.faults],
            wrapped_column="workers have paused",
        ),
        *_schedule(stats),
    ]
    return [table for table in tables if table.rows or table.if_empty]


def _summary(stats: Statistics) -> Table:
    queue, times, to_screen = stats.queue, stats.times, stats.to_screen
    return Table.of_fields(
        {
            "queue": "paused" if queue.paused else "open",
            "workers connected": stats.workers,
            "jobs waiting": queue.waiting,
            "jobs processing": queue.processing,
            "oldest waiting, s": seconds(queue.oldest_waiting_s),
            "photos not erased after a minute": stats.photos_not_erased,
            **_replica(stats),
            "upload to end, average s": seconds(times.average_s),
            "p50 / p95 / p99, s": _percentiles(times),
            "upload to screen, average s": seconds(to_screen.average_s),
            "p50 / p95 / p99 to screen, s": _percentiles(to_screen),
        }
    )


def _replica(stats: Statistics) -> dict[str, str]:
    if stats.replica is None:
        return {}
    lag_s = stats.replica.lag_s
    return {"replica behind, s": "away, the primary answers" if lag_s is None else f"{lag_s:.3f}"}


def _percentiles(times: Times) -> str:
    return " / ".join(seconds(value) for value in (times.p50_s, times.p95_s, times.p99_s))


def _schedule(stats: Statistics) -> list[Table]:
    runs = [
        (
            run.name,
            run.status or "-",
            utc(run.started_at),
            seconds(run.took_s),
            run.message or "-",
        )
        for run in stats.runs
    ]
    return [
        Table(
            ("scheduled", "when", "active", "last run (UTC)"),
            [
                (
                    entry.name,
                    entry.schedule,
                    "yes" if entry.active else "no",
                    utc(entry.last_run_at),
                )
                for entry in stats.schedule or ()
            ],
            if_empty="No cron schedule: pg_cron is not installed, and not needed."
            if stats.schedule is None
            else "",
        ),
        Table(
            ("run of", "status", "started (UTC)", "took, s", "message"),
            runs,
            wrapped_column="message",
            optional_columns=("took, s",),
        ),
    ]
