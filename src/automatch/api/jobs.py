"""`/api/jobs`: what has become of an upload."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from automatch.api.caller import Parts, SignedIn
from automatch.matcher.why import wants_reason, why_sentence
from automatch.model import Job
from automatch.store import jobs

router = APIRouter(prefix="/api/jobs", tags=["jobs"])


@router.get("", summary="Own jobs")
async def read(
    caller: SignedIn, services: Parts, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> dict[str, Any]:
    """Return the caller's jobs, newest first."""
    async with services.db.as_user(caller.claims) as conn:
        return {"jobs": [told_job(job) for job in await jobs.list_jobs(conn, limit)]}


@router.get("/{job_id}", summary="One job")
async def read_one(job_id: UUID, caller: SignedIn, services: Parts) -> dict[str, Any]:
    """Return status, reason and timings of one job; `why`, when it found few people or none.

    Its counts are rounded down to tens or more; 0 stands for fewer than 10.
    """
    async with services.db.as_user(caller.claims) as conn:
        job = await jobs.load_job(conn, job_id)
        pool = await jobs.explain_job(conn, job_id) if wants_reason(job) else None
    why = None
    if pool is not None:
        why = asdict(pool) | {"sentence": why_sentence(pool, job.match_count or 0)}
    return {"job": told_job(job) | {"why": why}}


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
        "match_count": job.match_count,
        "created_at": job.created_at.isoformat(),
        "started_at": job.started_at.isoformat() if job.started_at else None,
        "completed_at": job.completed_at.isoformat() if job.completed_at else None,
        "timings": job.timings,
    }
