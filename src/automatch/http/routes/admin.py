"""`/api/admin`: the operator's hands on the queue, for whoever holds the `service_role` key.

The gate turns everybody else away before their body is read. Each act is written into the audit
log with its actor: the role of the key, and who the `X-Actor` header says is behind it.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel

from automatch.http.deps import OperatorDep, ServicesDep
from automatch.http.routes.admin_forms import (
    ErrorCode,
    JobsForm,
    PauseForm,
    PrioritizeForm,
    RequeueForm,
    RetryForm,
    SchoolName,
    SetConcurrencyForm,
)
from automatch.model.jobs import AuditEntry, JobStatus, Queue, QueuedJob, StatusCount
from automatch.store import queue_admin

router = APIRouter(prefix="/api/admin", tags=["admin"])

Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]


class QueueShown(BaseModel):
    """The queue at a glance."""

    queue: Queue
    statuses: list[StatusCount]


class JobShown(BaseModel):
    """One job."""

    job: QueuedJob


class JobsShown(BaseModel):
    """Jobs, newest first."""

    jobs: list[QueuedJob]


class JobId(BaseModel):
    """A job by its id."""

    id: UUID


class JobQueued(BaseModel):
    """The job that searches once more."""

    job: JobId


class Count(BaseModel):
    """How many jobs an act has changed."""

    count: int


class Waiting(BaseModel):
    """How many jobs wait now, or go on."""

    waiting: int


class Concurrency(BaseModel):
    """How many jobs each worker may hold at once."""

    jobs: int | None


class AuditShown(BaseModel):
    """What operators did, newest first."""

    entries: list[AuditEntry]


@router.get("/queue", summary="The queue at a glance")
async def read_queue(_: OperatorDep, services: ServicesDep) -> QueueShown:
    """Return what waits, is worked on or is paused, and how many jobs are in each status."""
    async with services.db.connection() as conn:
        return QueueShown(
            queue=await queue_admin.load_queue(conn), statuses=await queue_admin.count_jobs(conn)
        )


@router.post("/queue/pause", summary="Pause the queue, or a school")
async def pause(form: PauseForm, actor: OperatorDep, services: ServicesDep) -> Waiting:
    """Let no job be claimed any more; uploads are still taken, and what is begun is finished."""
    async with services.db.connection() as conn:
        return Waiting(waiting=await queue_admin.pause(conn, actor, form.school))


@router.post("/queue/resume", summary="Resume the queue, or a school")
async def resume(form: PauseForm, actor: OperatorDep, services: ServicesDep) -> Waiting:
    """Undo a pause of the same kind: schools that were paused by name are resumed by name."""
    async with services.db.connection() as conn:
        return Waiting(waiting=await queue_admin.resume(conn, actor, form.school))


@router.put("/queue/concurrency", summary="Bound what a worker holds")
async def set_concurrency(
    form: SetConcurrencyForm, actor: OperatorDep, services: ServicesDep
) -> Concurrency:
    """Let each worker hold so many jobs at once, from its next claim on; null undoes it."""
    async with services.db.connection() as conn:
        await queue_admin.set_concurrency(conn, actor, form.jobs)
    return Concurrency(jobs=form.jobs)


@router.get("/jobs", summary="Jobs of everybody")
async def read_jobs(
    _: OperatorDep,
    services: ServicesDep,
    status: JobStatus | None = None,
    school: SchoolName | None = None,
    code: ErrorCode | None = None,
    limit: Limit = 50,
) -> JobsShown:
    """Return jobs, newest first, of one status, school or error code if asked for."""
    async with services.db.connection() as conn:
        return JobsShown(
            jobs=await queue_admin.list_jobs(
                conn, status=status, school=school, code=code, limit=limit
            )
        )


# The ids in these paths are matched as such, so that `/jobs/retry` is no job named "retry".
@router.get("/jobs/{job_id:uuid}", summary="One job of anybody")
async def read_job(job_id: UUID, _: OperatorDep, services: ServicesDep) -> JobShown:
    """Return where a job is, why it failed and how long each stage took."""
    async with services.db.connection() as conn:
        return JobShown(job=await queue_admin.load_job(conn, job_id))


@router.post("/jobs/retry", summary="Retry failed jobs")
async def retry(form: RetryForm, actor: OperatorDep, services: ServicesDep) -> Count:
    """Give failed jobs all their attempts again: those named, those of one error code, or all."""
    async with services.db.connection() as conn:
        return Count(count=await queue_admin.retry_failed(conn, actor, form.ids, code=form.code))


@router.post("/jobs/cancel", summary="Cancel jobs")
async def cancel(form: JobsForm, actor: OperatorDep, services: ServicesDep) -> Count:
    """End jobs that wait or are worked on as `job_cancelled`; the others are left alone."""
    async with services.db.connection() as conn:
        return Count(count=await queue_admin.cancel(conn, actor, form.ids))


@router.post("/jobs/prioritize", summary="Give jobs another priority")
async def prioritize(form: PrioritizeForm, actor: OperatorDep, services: ServicesDep) -> Count:
    """Give waiting jobs another priority and a new turn."""
    async with services.db.connection() as conn:
        return Count(count=await queue_admin.prioritize(conn, actor, form.ids, form.priority))


@router.post("/jobs/{job_id:uuid}/requeue", summary="Search once more")
async def requeue(
    job_id: UUID, form: RequeueForm, actor: OperatorDep, services: ServicesDep
) -> JobQueued:
    """Search for the photo of a job once more; matches that are there stay."""
    async with services.db.connection() as conn:
        new_id = await queue_admin.requeue(conn, actor, job_id, threshold=form.threshold)
    return JobQueued(job=JobId(id=new_id))


@router.get("/audit", summary="What operators did")
async def read_audit(_: OperatorDep, services: ServicesDep, limit: Limit = 50) -> AuditShown:
    """Return the acts of operators with their actors, newest first."""
    async with services.db.connection() as conn:
        return AuditShown(entries=await queue_admin.list_audit(conn, limit))
