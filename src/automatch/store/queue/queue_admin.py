"""What operators do with the queue: each function calls the SQL function that does it.

All of them are for the API's login (`Database.connection`) and check no permission: the caller has.
A function that changes something takes the name of the actor for the audit log, which is written in
the same commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from automatch.errors.request import NotFoundError
from automatch.model.jobs import JobStatus, Queue, QueuedJob, StatusCount
from automatch.sql.statements import load
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection

_SQL = load("queue_admin")


async def load_queue(conn: Connection) -> Queue:
    """Return an overview of the queue."""
    queue = await call_row(conn, "get_match_queue", class_row(Queue))
    assert queue is not None, "the table of its settings has one row"
    return queue


async def count_jobs(conn: Connection) -> list[StatusCount]:
    """Return how many jobs are in each status; a status without jobs is missing."""
    rows = await call_rows(conn, "get_match_job_stats", class_row(StatusCount))
    return [replace(row, status=JobStatus(row.status)) for row in rows]


async def list_jobs(
    conn: Connection,
    *,
    status: JobStatus | None = None,
    school: str | None = None,
    code: str | None = None,
    person_id: UUID | None = None,
    before: datetime | None = None,
    limit: int = 50,
) -> list[QueuedJob]:
    """Return jobs of everybody, newest first; None does not filter.

    *before* leaves out jobs that were queued at that time or later.
    """
    return await _list(
        conn,
        status=status,
        school=school,
        code=code,
        job_ids=None,
        limit=limit,
        user_id=person_id,
        before=before,
    )


async def load_job(conn: Connection, job_id: UUID) -> QueuedJob:
    """Return one job of anybody.

    Raises:
        NotFoundError: there is none.
    """
    jobs = await _list(
        conn,
        status=None,
        school=None,
        code=None,
        job_ids=[job_id],
        limit=1,
        user_id=None,
        before=None,
    )
    if not jobs:
        raise NotFoundError("There is no job with this id.")
    return jobs[0]


async def pause(conn: Connection, actor: str, school: str | None = None) -> int:
    """Pause claims, of one school or all; return the number of jobs that wait for the end.

    Raises:
        InputInvalidError: no profile names the school.
    """
    return int(await call_value(conn, "pause_match_jobs", school=school, actor=actor))


async def resume(conn: Connection, actor: str, school: str | None = None) -> int:
    """End a pause; return the number of jobs that can be claimed again.

    Raises:
        InputInvalidError: no profile names the school.
    """
    return int(await call_value(conn, "resume_match_jobs", school=school, actor=actor))


async def set_concurrency(conn: Connection, actor: str, jobs: int | None) -> None:
    """Limit how many jobs each worker holds at once; None leaves it to its settings."""
    await call(conn, "set_match_concurrency", jobs=jobs, actor=actor)


async def retry_failed(
    conn: Connection,
    actor: str,
    job_ids: Sequence[UUID] | None = None,
    *,
    code: str | None = None,
) -> int:
    """Retry failed jobs with all their attempts: those named, those of one code, or all."""
    ids = None if job_ids is None else list(job_ids)
    return int(
        await call_value(conn, "retry_failed_match_jobs", job_ids=ids, code=code, actor=actor)
    )


async def count_retryable(conn: Connection, *, code: str | None = None) -> int:
    """Return how many jobs `retry_failed` would queue again: of one error code, or all."""
    return int(await call_value(conn, "count_retryable_match_jobs", code=code))


async def cancel(conn: Connection, actor: str, job_ids: Sequence[UUID]) -> int:
    """End open jobs as `job_cancelled`; a worker that holds one writes nothing for it."""
    return int(await call_value(conn, "cancel_match_jobs", job_ids=list(job_ids), actor=actor))


async def requeue(
    conn: Connection, actor: str, job_id: UUID, *, threshold: float | None = None
) -> UUID:
    """Search for the photo of a job again; return the id of the new job.

    Raises:
        NotFoundError: there is no such job.
        ProfileIncompleteError: the profile of its person names no school.
    """
    new_id: UUID = await call_value(
        conn, "requeue_match_job", job_id=job_id, threshold=threshold, actor=actor
    )
    return new_id


async def prioritize(
    conn: Connection, actor: str, job_ids: Sequence[UUID], priority: int = 1
) -> int:
    """Give pending jobs another priority and a new position; return how many changed."""
    return int(
        await call_value(
            conn,
            "prioritize_match_jobs",
            job_ids=list(job_ids),
            priority=priority,
            actor=actor,
        )
    )


async def _list(conn: Connection, **parameters: object) -> list[QueuedJob]:
    async with conn.cursor(row_factory=class_row(QueuedJob)) as cursor:
        await cursor.execute(_SQL["list_jobs"], parameters)
        return [replace(job, status=JobStatus(job.status)) for job in await cursor.fetchall()]
