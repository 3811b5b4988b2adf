"""Jobs as their owners see them. How workers take and settle them is in store/queue.py."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from psycopg.rows import class_row

from automatch.errors import NotFoundError
from automatch.model import Job, JobStatus, MatchPool
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


async def load_pool(conn: Connection) -> MatchPool | None:
    """Return among how many people the caller is searched for; None without a profile."""
    async with conn.cursor(row_factory=class_row(MatchPool)) as cursor:
        await cursor.execute(_SQL["pool"])
        return await cursor.fetchone()


async def explain_job(conn: Connection, job_id: UUID) -> MatchPool | None:
    """Return the same for one job of the caller, with how many reach its threshold now.

    None when it is another's, or its photo has no embedding of the model that searches use.
    """
    async with conn.cursor(row_factory=class_row(MatchPool)) as cursor:
        await cursor.execute(_SQL["explain"], {"job_id": job_id})
        return await cursor.fetchone()
