"""`/api/admin`: what operators do, for whoever holds the `service_role` key.

Each act is written into the audit log with its actor: the role of the key, and who the `X-Actor`
header says is behind it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from automatch.errors.request import InputInvalidError, NotFoundError, SchoolUnknownError
from automatch.errors.store import DatabaseUnavailableError
from automatch.http.declaration import Access, DeclaredRoute, declare
from automatch.http.deps import OperatorDep, ServicesDep
from automatch.http.responses.admin import (
    AdminJobResponse,
    AdminJobsResponse,
    AuditResponse,
    ConcurrencyResponse,
    CountResponse,
    DuplicatesResponse,
    JobId,
    MatchingResponse,
    QueueResponse,
    RequeuedJobResponse,
    SmokeTestResponse,
    WaitingResponse,
)
from automatch.model.jobs import JobStatus
from automatch.model.matches import DuplicateState
from automatch.services.people.smoke_test_users import start_smoke_test
from automatch.services.protection.duplicates import (
    decide_duplicate,
    load_duplicates_overview,
    set_duplicate_matching,
)
from automatch.services.queue import queue
from automatch.services.queue.queue import load_queue_overview
from automatch.services.validators import SchoolName
from automatch.store.operators import audit_log
from automatch.store.people import smoke_test_users
from automatch.store.queue import queue_admin

router = APIRouter(prefix="/api/admin", tags=["admin"], route_class=DeclaredRoute)

_ERRORS = (DatabaseUnavailableError, InputInvalidError)

_MAX_IDS = 1000

Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
ErrorCode = Annotated[str, StringConstraints(pattern="^[a-z_]{1,60}$")]
JobIds = Annotated[list[UUID], Field(min_length=1, max_length=_MAX_IDS)]


class _Form(BaseModel):
    # A misspelt field would change many jobs in another way than was meant.
    model_config = ConfigDict(extra="forbid")


class PauseForm(_Form):
    """A school, or (without one) the whole queue."""

    school: SchoolName | None = None


class SetConcurrencyForm(_Form):
    """Jobs that each worker may hold at once; null leaves it to the workers' settings."""

    jobs: Annotated[int, Field(ge=1, le=100_000, strict=True)] | None


class JobsForm(_Form):
    """Jobs by their ids."""

    ids: JobIds


class RetryForm(_Form):
    """Which failed jobs: exactly one of the three."""

    ids: JobIds | None = None
    code: ErrorCode | None = None
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _check_only_one(self) -> Self:
        if sum(value is not None for value in (self.ids, self.code, self.all)) != 1:
            raise PydanticCustomError("which", "Send one of `ids`, `code` and `all`: true")
        return self


class PrioritizeForm(JobsForm):
    """Jobs and their new priority: 1 soon, 2 as usual, 3 when nobody waits."""

    priority: Annotated[int, Field(ge=1, le=3, strict=True)] = 1


class RequeueForm(_Form):
    """The similarity that this run asks for; null takes that of `match_settings`."""

    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None


class DecisionForm(_Form):
    """What a pair of accounts is."""

    state: DuplicateState = Field(
        description="`confirmed`: one person. `dismissed`: two. `open`: not decided (any more)."
    )


class MatchingForm(_Form):
    """Whether two accounts that look like one person match."""

    match: Annotated[bool, Field(strict=True)]


@router.get("/queue", summary="The queue at a glance")
@declare(Access.SERVICE_KEY, errors=_ERRORS)
async def read_queue(_: OperatorDep, services: ServicesDep) -> QueueResponse:
    """Return what waits, is processed or is paused, and how many jobs are in each status."""
    async with services.db.connection() as conn:
        return QueueResponse.from_overview(await load_queue_overview(conn))


@router.post("/queue/pause", summary="Pause the queue, or a school")
@declare(Access.SERVICE_KEY, errors=(*_ERRORS, SchoolUnknownError))
async def pause(form: PauseForm, operator: OperatorDep, services: ServicesDep) -> WaitingResponse:
    """Let no job be claimed any more; uploads are still accepted, and running jobs end."""
    return WaitingResponse(waiting=await queue.pause(services.db, operator, form.school))


@router.post("/queue/resume", summary="Resume the queue, or a school")
@declare(Access.SERVICE_KEY, errors=(*_ERRORS, SchoolUnknownError))
async def resume(form: PauseForm, operator: OperatorDep, services: ServicesDep) -> WaitingResponse:
    """Undo a pause of the same kind: schools that were paused by name are resumed by name."""
    return WaitingResponse(waiting=await queue.resume(services.db, operator, form.school))


@router.put("/queue/concurrency", summary="Bound what a worker holds")
@declare(Access.SERVICE_KEY, errors=_ERRORS)
async def set_concurrency(
    form: SetConcurrencyForm, operator: OperatorDep, services: ServicesDep
) -> ConcurrencyResponse:
    """Let each worker hold so many jobs at once, from its next claim on; null undoes it."""
    await queue.set_concurrency(services.db, operator, form.jobs)
    return ConcurrencyResponse(jobs=form.jobs)


@router.get("/jobs", summary="Jobs of everybody")
@declare(Access.SERVICE_KEY, errors=_ERRORS)
async def read_jobs(
    _: OperatorDep,
    services: ServicesDep,
    status: JobStatus | None = None,
    school: SchoolName | None = None,
    code: ErrorCode | None = None,
    limit: Limit = 50,
) -> AdminJobsResponse:
    """Return jobs, newest first, of one status, school or error code if asked for."""
    async with services.db.connection() as conn:
        return AdminJobsResponse(
            jobs=await queue_admin.list_jobs(
                conn, status=status, school=school, code=code, limit=limit
            )
        )


# Ids in these paths are matched as UUIDs, so that `/jobs/retry` is not taken for a job.
@router.get("/jobs/{job_id:uuid}", summary="One job of anybody")
@declare(Access.SERVICE_KEY, errors=(*_ERRORS, NotFoundError))
async def read_job(job_id: UUID, _: OperatorDep, services: ServicesDep) -> AdminJobResponse:
    """Return where a job is, why it failed and how long each stage took."""
    async with services.db.connection() as conn:
        return AdminJobResponse(job=await queue_admin.load_job(conn, job_id))


@router.post("/jobs/retry", summary="Retry failed jobs")
@declare(Access.SERVICE_KEY, errors=_ERRORS)
async def retry(form: RetryForm, operator: OperatorDep, services: ServicesDep) -> CountResponse:
    """Give failed jobs all their attempts again: those named, those of one error code, or all."""
    return CountResponse(
        count=await queue.retry_failed(services.db, operator, form.ids, code=form.code)
    )


@router.post("/jobs/cancel", summary="Cancel jobs")
@declare(Access.SERVICE_KEY, errors=_ERRORS)
async def cancel(form: JobsForm, operator: OperatorDep, services: ServicesDep) -> CountResponse:
    """End jobs that wait or are worked on as `job_cancelled`; the others are left alone."""
    return CountResponse(count=await queue.cancel(services.db, operator, form.ids))


@router.post("/jobs/prioritize", summary="Give jobs another priority")
@declare(Access.SERVICE_KEY, errors=_ERRORS)
async def prioritize(
    form: PrioritizeForm, operator: OperatorDep, services: ServicesDep
) -> CountResponse:
    """Give waiting jobs another priority and a new turn."""
    return CountResponse(
        count=await queue.prioritize(services.db, operator, form.ids, form.priority)
    )


@router.post("/jobs/{job_id:uuid}/requeue", summary="Search once more")
@declare(Access.SERVICE_KEY, errors=(*_ERRORS, NotFoundError))
async def requeue(
    job_id: UUID, form: RequeueForm, operator: OperatorDep, services: ServicesDep
) -> RequeuedJobResponse:
    """Search for the photo of a job once more; matches that are there stay."""
    new_id = await queue.requeue(services.db, operator, job_id, threshold=form.threshold)
    return RequeuedJobResponse(job=JobId(id=new_id))


@router.get("/audit", summary="What operators did")
@declare(Access.SERVICE_KEY, errors=_ERRORS)
async def read_audit(_: OperatorDep, services: ServicesDep, limit: Limit = 50) -> AuditResponse:
    """Return the acts of operators with their actors, newest first."""
    async with services.db.connection() as conn:
        return AuditResponse(entries=await audit_log.list_entries(conn, limit))


@router.get("/duplicates", summary="Accounts that look like one person")
@declare(Access.SERVICE_KEY, errors=_ERRORS)
async def read_duplicates(
    operator: OperatorDep,
    services: ServicesDep,
    state: Annotated[
        DuplicateState | None, Query(description="Only this state; left out, all of them.")
    ] = None,
    limit: Limit = 50,
) -> DuplicatesResponse:
    """Return pairs of accounts whose closest photos are as alike as two of one person.

    `u` is the distance of the two embeddings: the smaller, the surer. A resemblance is no proof.
    """
    overview = await load_duplicates_overview(services.db, operator, state, limit)
    return DuplicatesResponse.from_overview(overview)


@router.put("/duplicates/matching", summary="Let accounts of one person match, or not")
@declare(Access.SERVICE_KEY, errors=_ERRORS)
async def set_matching(
    form: MatchingForm, operator: OperatorDep, services: ServicesDep
) -> MatchingResponse:
    """Set whether pairs that are not dismissed match; feeds follow at once."""
    await set_duplicate_matching(services.db, operator, form.match)
    return MatchingResponse(match=form.match)


# Matched as an id, so that `/matching` is no pair.
@router.put("/duplicates/{pair_id:uuid}", status_code=204, summary="Decide about a pair")
@declare(Access.SERVICE_KEY, errors=(*_ERRORS, NotFoundError))
async def decide(
    pair_id: UUID, form: DecisionForm, operator: OperatorDep, services: ServicesDep
) -> None:
    """Say that a pair is one person, or two; the decision is kept when they are found again."""
    await decide_duplicate(services.db, operator, pair_id, form.state)


@router.post("/smoke-tests", summary="Create two people for a smoke test")
@declare(Access.SERVICE_KEY, errors=_ERRORS)
async def start_smoke_test_run(operator: OperatorDep, services: ServicesDep) -> SmokeTestResponse:
    """Create a woman and a man whom no real person is matched with, shown or in a school with."""
    async with services.db.connection() as conn:
        smoke_test = await start_smoke_test(conn, services.tokens, operator.actor)
    return SmokeTestResponse.from_smoke_test(smoke_test)


@router.delete("/smoke-tests/{smoke_test_id:uuid}", summary="Erase them again")
@declare(Access.SERVICE_KEY, errors=(*_ERRORS, NotFoundError))
async def end_smoke_test_run(
    smoke_test_id: UUID, operator: OperatorDep, services: ServicesDep
) -> CountResponse:
    """Erase the two with photos, templates, jobs and matches; return how many were still there."""
    async with services.db.connection() as conn:
        return CountResponse(
            count=await smoke_test_users.end_smoke_test(conn, operator.actor, smoke_test_id)
        )
