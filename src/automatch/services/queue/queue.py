"""What operators do with the queue; each act is checked by `acts`, and recorded by SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from automatch.model.jobs import Queue, StatusCount
from automatch.model.operators import Operator
from automatch.services.operators.acts import Act, authorized
from automatch.store.database import Connection, Database
from automatch.store.queue import queue_admin


@dataclass(frozen=True, slots=True)
class QueueOverview:
    """The queue, and how many jobs are in each status."""

    queue: Queue
    statuses: Sequence[StatusCount]


async def load_queue_overview(conn: Connection) -> QueueOverview:
    """Return what waits, is processed or is paused, and how many jobs are in each status."""
    return QueueOverview(await queue_admin.load_queue(conn), await queue_admin.count_jobs(conn))


async def pause(db: Database, operator: Operator, school: str | None = None) -> int:
    """Let no job of a school, or of all, be claimed; return how many wait.

    Raises:
        SchoolUnknownError: there is no such school.
        ForbiddenError: see `authorized`; so for all acts here.
    """
    async with authorized(db, operator, Act.PAUSE_QUEUE) as conn:
        return await queue_admin.pause(conn, operator.actor, school)


async def resume(db: Database, operator: Operator, school: str | None = None) -> int:
    """Undo a pause of the same kind; return how many jobs can be claimed again.

    Raises:
        SchoolUnknownError: there is no such school.
    """
    async with authorized(db, operator, Act.RESUME_QUEUE) as conn:
        return await queue_admin.resume(conn, operator.actor, school)


async def set_concurrency(db: Database, operator: Operator, jobs: int | None) -> None:
    """Limit how many jobs each worker holds at once; None leaves it to its settings."""
    async with authorized(db, operator, Act.SET_CONCURRENCY) as conn:
        await queue_admin.set_concurrency(conn, operator.actor, jobs)


async def retry_failed(
    db: Database,
    operator: Operator,
    job_ids: Sequence[UUID] | None = None,
    *,
    code: str | None = None,
) -> int:
    """Retry failed jobs: those named, those of one code, or all; return how many."""
    async with authorized(db, operator, Act.RETRY_JOBS) as conn:
        return await queue_admin.retry_failed(conn, operator.actor, job_ids, code=code)


async def cancel(db: Database, operator: Operator, job_ids: Sequence[UUID]) -> int:
    """End jobs that wait or are worked on; return how many."""
    async with authorized(db, operator, Act.CANCEL_JOBS) as conn:
        return await queue_admin.cancel(conn, operator.actor, job_ids)


async def prioritize(
    db: Database, operator: Operator, job_ids: Sequence[UUID], priority: int = 1
) -> int:
    """Give waiting jobs another priority and a new turn; return how many."""
    async with authorized(db, operator, Act.PRIORITIZE_JOBS) as conn:
        return await queue_admin.prioritize(conn, operator.actor, job_ids, priority)


async def requeue(
    db: Database, operator: Operator, job_id: UUID, *, threshold: float | None = None
) -> UUID:
    """Search for the photo of a job once more; return the id of the new job.

    Raises:
        NotFoundError: there is no such job.
        ProfileIncompleteError: the profile of its person names no school.
    """
    async with authorized(db, operator, Act.REQUEUE_JOB) as conn:
        return await queue_admin.requeue(conn, operator.actor, job_id, threshold=threshold)
