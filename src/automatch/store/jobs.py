"""Jobs as their owners see them. How workers take and settle them is in store/queue.py."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from psycopg.rows import class_row

from automatch.errors import NotFoundError
from automatch.model import Job, JobStatus
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
