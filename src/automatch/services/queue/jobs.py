"""The jobs of a person: what became of an upload, and the one question that a job may ask."""

from __future__ import annotations

from uuid import UUID

from automatch.model.jobs import Job, JobStatus
from automatch.model.matches import MatchPool
from automatch.model.people import Claims
from automatch.search.explain import needs_explanation
from automatch.services.photos.admission import Admission
from automatch.store.database import Database
from automatch.store.queue import jobs


async def load_explained_job(
    db: Database, claims: Claims, job_id: UUID
) -> tuple[Job, MatchPool | None]:
    """Return a job and, when it found few people or none, among how many it searched.

    Raises:
        NotFoundError: there is no such job, or it is another person's.
    """
    async with db.as_user(claims) as conn:
        job = await jobs.load_job(conn, job_id)
        pool = await jobs.explain_job(conn, job_id) if needs_explanation(job) else None
    return job, pool


async def choose_face(
    db: Database, admission: Admission, claims: Claims, job_id: UUID, index: int
) -> JobStatus:
    """Queue the job of a photo again, whose owner said which face is theirs.

    Raises:
        QueueFullError: too many photos wait already.
        StorageFullError: there is no room for the copies of a photo.
        NotFoundError: the caller has no such job.
        FaceNotAskedError: the job does not ask, or not any more.
        InputInvalidError: the photo has no face with this index.
    """
    await admission.check()
    async with db.as_user(claims) as conn:
        status = await jobs.choose_face(conn, job_id, index)
    admission.count_accepted()
    return status
