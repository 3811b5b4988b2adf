"""`/api/jobs`: what became of an upload, and the one question that a job may ask."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from automatch.errors.request import (
    ConsentRequiredError,
    FaceNotAskedError,
    InputInvalidError,
    NotFoundError,
    ProfileIncompleteError,
)
from automatch.errors.store import DatabaseUnavailableError, QueueFullError, StorageFullError
from automatch.http.declaration import Access, DeclaredRoute, declare
from automatch.http.deps import CallerDep, ServicesDep
from automatch.http.responses.photos import (
    ExplainedJobResponse,
    FaceChosenResponse,
    JobResponse,
    JobsResponse,
    OneJobResponse,
    QueuedJobResponse,
)
from automatch.services.queue.jobs import choose_face, load_explained_job
from automatch.store.queue import jobs

router = APIRouter(prefix="/api/jobs", tags=["jobs"], route_class=DeclaredRoute)


class FaceForm(BaseModel):
    """Which of the faces that a job lists is the caller's own."""

    model_config = ConfigDict(extra="forbid")

    index: Annotated[
        int,
        Field(ge=0, le=63, strict=True, description="`index` of one of the job's `faces`."),
    ]


@router.get("", summary="Own jobs")
@declare(Access.PERSON, errors=(DatabaseUnavailableError, InputInvalidError))
async def read(
    caller: CallerDep, services: ServicesDep, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> JobsResponse:
    """Return the caller's jobs, newest first."""
    async with services.db.as_user(caller.claims) as conn:
        own_jobs = await jobs.list_jobs(conn, limit)
    return JobsResponse(jobs=[JobResponse.from_job(job) for job in own_jobs])


@router.get("/{job_id}", summary="One job")
@declare(Access.PERSON, errors=(DatabaseUnavailableError, InputInvalidError, NotFoundError))
async def read_one(job_id: UUID, caller: CallerDep, services: ServicesDep) -> OneJobResponse:
    """Return status, reason and timings of one job; `why`, when it found few people or none.

    Its counts are rounded down to tens or more; 0 stands for fewer than 10. A job that failed as
    `several_faces` lists the `faces` of its photo, each with its `index` and its `box`: `left`,
    `top`, `width` and `height` in shares of the sides of `GET /api/faces/{face_id}/image`. Ask the
    person which one is theirs, and send it to `POST /api/jobs/{job_id}/face`.
    """
    job, pool = await load_explained_job(services.db, caller.claims, job_id)
    return OneJobResponse(job=ExplainedJobResponse.from_explained_job(job, pool))


@router.post("/{job_id}/face", status_code=202, summary="Say which face is one's own")
@declare(
    Access.PERSON,
    errors=(
        DatabaseUnavailableError,
        QueueFullError,
        StorageFullError,
        InputInvalidError,
        NotFoundError,
        FaceNotAskedError,
        ConsentRequiredError,
        ProfileIncompleteError,
    ),
)
async def choose(
    job_id: UUID, form: FaceForm, caller: CallerDep, services: ServicesDep
) -> FaceChosenResponse:
    """Answer a job that lists several `faces`; it is queued again and uses that one alone.

    The same answer again changes nothing. A job that asks nothing (any more) is a 409.
    """
    status = await choose_face(services.db, services.admission, caller.claims, job_id, form.index)
    return FaceChosenResponse(job=QueuedJobResponse(id=job_id, status=status))
