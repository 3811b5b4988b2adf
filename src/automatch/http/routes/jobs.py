"""`/api/jobs`: what has become of an upload, and the one question that a job may ask."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from automatch.http.deps import Caller, CallerDep, ServicesDep
from automatch.http.services import Services
from automatch.model.jobs import Job, JobStatus
from automatch.search.explain import explain_few_matches, needs_explanation
from automatch.store import jobs

router = APIRouter(prefix="/api/jobs", tags=["jobs"])


class FaceForm(BaseModel):
    """Which of the faces that a job lists is the caller's own."""

    model_config = ConfigDict(extra="forbid")

    index: Annotated[
        int,
        Field(ge=0, le=63, strict=True, description="`index` of one of the job's `faces`."),
    ]


class JobAnswered(BaseModel):
    """A job that goes on."""

    id: UUID
    status: JobStatus


class FaceChosen(BaseModel):
    """The job whose question was answered."""

    job: JobAnswered


@router.get("", summary="Own jobs")
async def read(
    caller: CallerDep, services: ServicesDep, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> dict[str, Any]:
    """Return the caller's jobs, newest first."""
    async with services.db.as_user(caller.claims) as conn:
        return {"jobs": [told_job(job) for job in await jobs.list_jobs(conn, limit)]}


@router.get("/{job_id}", summary="One job")
async def read_one(job_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Return status, reason and timings of one job; `why`, when it found few people or none.

    Its counts are rounded down to tens or more; 0 stands for fewer than 10. A job that failed as
    `several_faces` lists the `faces` of its photo, each with its `index` and its `box`: `left`,
    `top`, `width` and `height` in shares of the sides of `GET /api/faces/{face_id}/image`. Ask the
    person which one is theirs, and send it to `POST /api/jobs/{job_id}/face`.
    """
    async with services.db.as_user(caller.claims) as conn:
        job = await jobs.load_job(conn, job_id)
        pool = await jobs.explain_job(conn, job_id) if needs_explanation(job) else None
    why = None
    if pool is not None:
        why = asdict(pool) | {"sentence": explain_few_matches(pool, job.match_count or 0)}
    return {"job": told_job(job) | {"why": why}}


@router.post("/{job_id}/face", status_code=202, summary="Say which face is one's own")
async def choose(
    job_id: UUID, form: FaceForm, caller: CallerDep, services: ServicesDep
) -> FaceChosen:
    """Answer a job that lists several `faces`; it is queued again and looks at that one alone.

    The same answer again changes nothing. A job that asks nothing (any more) is a 409.
    """
    status = await choose_face(services, caller, job_id, form.index)
    return FaceChosen(job=JobAnswered(id=job_id, status=status))


async def choose_face(services: Services, caller: Caller, job_id: UUID, index: int) -> JobStatus:
    """Queue the job of a photo again whose owner said which face is theirs.

    Raises:
        QueueFullError: too many photos wait already.
        StorageFullError: there is no room for the copies of a photo.
        NotFoundError: the caller has no such job.
        FaceNotAskedError: it does not ask, or not any more.
        InputInvalidError: the photo has no face with this index.
    """
    await services.admission.check()
    async with services.db.as_user(caller.claims) as conn:
        status = await jobs.choose_face(conn, job_id, index)
    services.admission.took()
    return status


def told_job(job: Job) -> dict[str, Any]:
    """Return a job as apps see it."""
    error = None
    if job.error_code is not None:
        error = {"code": job.error_code, "message": job.error_message}
    return {
        "id": str(job.id),
        "face_id": str(job.face_id),
        "status": job.status.value,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "error": error,
        "faces": [{"index": index, "box": asdict(box)} for index, box in enumerate(job.faces)],
        "match_count": job.match_count,
        "created_at": job.created_at.isoformat(),
        "started_at": job.started_at.isoformat() if job.started_at else None,
        "completed_at": job.completed_at.isoformat() if job.completed_at else None,
        "timings": job.timings,
    }
