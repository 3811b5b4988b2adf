"""What an operator sees at a glance: the queue, who works, how long it takes, and what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from automatch.errors.cause import Cause, cause_of
from automatch.model.history import HistoryPoint, Stage, StageTimes
from automatch.model.jobs import Queue, StatusCount
from automatch.model.operators import Operator
from automatch.settings import Settings
from automatch.store.database import Database
from automatch.store.operation import overview
from automatch.store.operation.disk import Disk, fullest_disk, list_data_folders
from automatch.store.operation.history import load_history
from automatch.store.operation.overview import JobRates, ScheduleEntry, Waiting
from automatch.store.operation.servers import Server, list_servers
from automatch.store.queue import queue_admin, stats
from automatch.store.queue.stats import FailedReason, FaultSummary
from automatch.store.replica import Reads, Replica


@dataclass(frozen=True, slots=True)
class Overview:
    """The installation at one moment, and the hours before it. Nobody is named in it."""

    at: datetime
    hours: int
    """How far `history`, `stages` and `failures` reach back."""
    queue: Queue
    """What waits, is processed or paused; `oldest_waiting_s` is the oldest age."""
    statuses: Sequence[StatusCount]
    """Jobs by status, with the oldest of each; a status without jobs is missing."""
    rates: JobRates
    """Jobs a minute, and an hour."""
    history: Sequence[HistoryPoint]
    """In equal steps, oldest first; the last one is not over. The means of `PARTS` stack up to the
    way from the upload to the screen."""
    stages: Mapping[Stage, StageTimes]
    """All of `history` together; `TO_SCREEN` and `TO_END` are the whole ways."""
    failures: Mapping[Cause, Sequence[FailedReason]]
    """Why jobs failed, by whose matter it is, the most frequent reason first. Of jobs that are kept
    (`AUTOMATCH_RETENTION__JOBS_DAYS`) and were not retried since."""
    workers: int
    """Connected workers, busy or idle."""
    faults: Sequence[FaultSummary]
    """Why some of them have paused."""
    servers: Sequence[Server]
    """With the feed clients of each; `alive` is False of one that has fallen silent."""
    disk: Disk | None
    """The fullest disk of this server with photos or the embedded Postgres; None without any."""
    min_free_bytes: int
    """With less on the disk uploads are refused."""
    schedule: Sequence[ScheduleEntry]
    """The cron schedule with the last run of each entry; empty without pg_cron."""
    replica_lag_s: float | None = None
    """For how long the replica has not had all that the primary has, as this server sees it; 0
    while it keeps up, None without one."""


async def load_overview(
    db: Database, settings: Settings, *, reads: Reads | None = None, hours: int = 24
) -> Overview:
    """Return what the overview shows, with the rights of the server's login.

    Args:
        db: of the server's login.
        reads: where its reads go.
        settings: tell where its disks are.
        hours: how far back, 30 days at most.
    """
    disk = await asyncio.to_thread(fullest_disk, list_data_folders(settings))
    async with db.connection() as conn:
        history = await load_history(conn, hours)
        reasons = await overview.list_failure_reasons(conn, timedelta(hours=hours))
        return Overview(
            at=datetime.now(UTC),
            hours=hours,
            queue=await queue_admin.load_queue(conn),
            statuses=await queue_admin.count_jobs(conn),
            rates=await overview.load_job_rates(conn),
            history=history,
            stages=merge_stages(history),
            failures={
                cause: [reason for reason in reasons if cause_of(reason.code) is cause]
                for cause in Cause
            },
            workers=await stats.count_workers(conn),
            faults=await stats.list_worker_faults(conn),
            servers=await list_servers(conn),
            disk=disk,
            min_free_bytes=settings.retention.min_free_mb * 1024**2,
            schedule=await overview.list_schedule(conn),
            replica_lag_s=reads.lag_s if isinstance(reads, Replica) else None,
        )


async def count_waiting(db: Database, operator: Operator) -> Waiting:
    """Return how much waits for an operator; counts name nobody, so that no look is recorded."""
    async with db.connection() as conn:
        return await overview.count_waiting(conn, operator.id)


def merge_stages(points: Sequence[HistoryPoint]) -> dict[Stage, StageTimes]:
    """Return the times of all points together, of the stages that something went through."""
    return {
        stage: StageTimes.merged(point.stages[stage] for point in points if stage in point.stages)
        for stage in Stage
        if any(stage in point.stages for point in points)
    }
