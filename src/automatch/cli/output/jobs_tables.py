"""Tables of jobs and of the queue."""

from __future__ import annotations

import json
from collections.abc import Sequence

from automatch.cli.output.tables import Table, or_dash, print_tables, seconds, utc
from automatch.model.jobs import Queue, QueuedJob, StatusCount


def print_jobs(jobs: Sequence[QueuedJob]) -> None:
    """Print one line per job."""
    columns = ("job", "status", "school", "prio", "attempts", "matches", "created (UTC)", "error")
    rows = [
        (
            job.id,
            _status(job),
            job.school,
            job.priority,
            f"{job.attempts}/{job.max_attempts}",
            or_dash(job.match_count),
            utc(job.created_at),
            job.error["code"] if job.error else "-",
        )
        for job in jobs
    ]
    optional = ("prio", "school", "matches", "created (UTC)", "attempts")
    print_tables(Table(columns, rows, optional_columns=optional, if_empty="No such job."))


def print_job(job: QueuedJob) -> None:
    """Print everything about one job."""
    rows = {
        "job": job.id,
        "status": _status(job),
        "face": job.face_id,
        "person": job.user_id,
        "school": job.school,
        "priority": job.priority,
        "attempts": f"{job.attempts} of {job.max_attempts}",
        "error": f"{job.error['code']}: {job.error['message']}" if job.error else "-",
        "matches": or_dash(job.match_count),
        "threshold": or_dash(job.threshold),
        "created (UTC)": utc(job.created_at),
        "scheduled for": utc(job.run_at),
        "started": utc(job.started_at),
        "ended": utc(job.completed_at),
        "worker": or_dash(job.worker_id),
        "lease expires": utc(job.lease_expires_at),
        "isolated": "yes, a worker crashed while it ran" if job.isolated else "no",
        "timings": json.dumps(job.timings),
        "open pages reached": job.reached,
        "seen later": job.seen_later,
    }
    print_tables(Table.of_fields(rows))


def print_queue(queue: Queue, statuses: Sequence[StatusCount]) -> None:
    """Print a summary of the queue, then one line per status."""
    summary = {
        "queue": "paused" if queue.paused else "open",
        "paused schools": ", ".join(queue.paused_schools) or "-",
        "jobs per worker": or_dash(queue.concurrency),
        "waiting": queue.waiting,
        "scheduled": queue.scheduled,
        "processing": queue.processing,
        "expired leases": queue.expired_leases,
        "active workers": queue.workers,
        "oldest waiting, s": seconds(queue.oldest_waiting_s),
    }
    rows = [
        (row.status.value, row.count, utc(row.oldest_created_at), seconds(row.avg_seconds))
        for row in statuses
    ]
    columns = ("status", "jobs", "oldest (UTC)", "average duration, s")
    print_tables(Table.of_fields(summary), Table(columns, rows, if_empty="There are no jobs."))


def _status(job: QueuedJob) -> str:
    if job.scheduled:
        return "pending, later" if job.run_at else "pending, paused"
    return job.status.value
