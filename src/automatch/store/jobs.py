"""The queue. Each function is one call of the SQL function that owns the state change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from automatch.errors import NotFoundError
from automatch.model import ClaimedJob, Job, JobStatus
from automatch.settings import WorkerSettings
from automatch.store.database import Connection
from automatch.store.queries import load

_SQL = load("jobs")


async def list_jobs(conn: Connection, limit: int = 20) -> list[Job]:
    """Return the caller's jobs, newest first."""
    async with conn.cursor(row_factory=class_row(Job)) as cursor:
        await cursor.execute(_SQL["list"], {"limit": limit})
        return [replace(job, status=JobStatus(job.status)) for job in await cursor.fetchall()]


async def load_job(conn: Connection, job_id: UUID) -> Job:
    """Return one job of the caller.

    Raises:
        NotFoundError: there is none, or it is another's.
    """
    async with conn.cursor(row_factory=class_row(Job)) as cursor:
        await cursor.execute(_SQL["load"], {"job_id": job_id})
        job = await cursor.fetchone()
    if job is None:
        raise NotFoundError
    return replace(job, status=JobStatus(job.status))


async def claim_jobs(
    conn: Connection, worker_id: UUID, limit: int, settings: WorkerSettings
) -> list[ClaimedJob]:
    """Take the oldest due jobs under a lease."""
    async with conn.cursor(row_factory=class_row(ClaimedJob)) as cursor:
        await cursor.execute(
            _SQL["claim"],
            {"worker_id": worker_id, "limit": limit, "lease_s": settings.lease_s},
        )
        return await cursor.fetchall()


async def renew_leases(
    conn: Connection, jobs: Sequence[ClaimedJob], settings: WorkerSettings
) -> set[UUID]:
    """Renew the leases of *jobs*; return the ids of those that are still held."""
    cursor = await conn.execute(_SQL["renew"], {**_held(jobs), "lease_s": settings.lease_s})
    return {row[0] for row in await cursor.fetchall()}


async def store_embedding(
    conn: Connection,
    job: ClaimedJob,
    *,
    embedding: np.ndarray[Any, np.dtype[np.float32]],
    model: str,
    quality: dict[str, float],
    timings: dict[str, float],
) -> bool:
    """Keep what was seen on the photo; False when the lease is lost."""
    row = await _one(
        conn,
        "store_embedding",
        job,
        embedding=embedding,
        model=model,
        quality=Jsonb(quality),
        timings=Jsonb(timings),
    )
    return bool(row)


async def complete_job(conn: Connection, job: ClaimedJob) -> int | None:
    """Search, write the matches, finish; the number found, or None when the lease is lost."""
    count: int | None = await _one(conn, "complete", job)
    return count


async def fail_job(conn: Connection, job: ClaimedJob, *, code: str, message: str) -> bool:
    """End a job for a reason that no retry can mend; False when the lease is lost."""
    return bool(await _one(conn, "fail", job, code=code, message=message))


async def retry_job(
    conn: Connection, job: ClaimedJob, settings: WorkerSettings, *, code: str, message: str
) -> JobStatus | None:
    """Give a job another attempt later; the new status, or None when the lease is lost."""
    status = await _one(
        conn,
        "retry",
        job,
        code=code,
        message=message,
        first_delay_s=settings.backoff_s,
        longest_delay_s=settings.backoff_max_s,
    )
    return JobStatus(status) if status else None


async def release_jobs(conn: Connection, jobs: Sequence[ClaimedJob], *, delay_s: float = 0) -> int:
    """Give jobs back without costing an attempt; the number that were still held."""
    cursor = await conn.execute(_SQL["release"], {**_held(jobs), "delay_s": delay_s})
    row = await cursor.fetchone()
    return row[0] if row else 0


async def sweep_jobs(conn: Connection, settings: WorkerSettings) -> int:
    """Take back the jobs of workers that stopped answering; the number of them."""
    cursor = await conn.execute(
        _SQL["sweep"],
        {"first_delay_s": settings.backoff_s, "longest_delay_s": settings.backoff_max_s},
    )
    row = await cursor.fetchone()
    return row[0] if row else 0


async def clean_up_jobs(conn: Connection, days: int) -> int:
    """Delete finished jobs older than *days*; the number of them."""
    cursor = await conn.execute(_SQL["clean_up"], {"days": days})
    row = await cursor.fetchone()
    return row[0] if row else 0


async def seconds_to_next_job(conn: Connection) -> float | None:
    """Return how long until the first waiting job is due; negative when it is overdue."""
    cursor = await conn.execute(_SQL["seconds_to_next"])
    row = await cursor.fetchone()
    return row[0] if row else None


def _held(jobs: Sequence[ClaimedJob]) -> dict[str, Any]:
    return {"job_ids": [job.id for job in jobs], "tokens": [job.token for job in jobs]}


async def _one(conn: Connection, query: str, job: ClaimedJob, **more: Any) -> Any:
    cursor = await conn.execute(_SQL[query], {"job_id": job.id, "token": job.token, **more})
    row = await cursor.fetchone()
    return row[0] if row else None
