"""Finding jobs of anybody: by status, reason, school or person. Nobody's name or photo is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from automatch.errors.request import InputInvalidError
from automatch.model.jobs import JobStatus, Queue, QueuedJob
from automatch.model.operators import Operator
from automatch.services.operators.acts import looking_at_system
from automatch.services.validators import normalize_email
from automatch.store.database import Connection, Database
from automatch.store.people import people
from automatch.store.queue import queue_admin


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What jobs are looked for, as it was typed; nothing lets all through."""

    status: str = ""
    code: str = ""
    school: str = ""
    person: str = ""
    """An id, or a whole e-mail address."""

    def as_fields(self) -> dict[str, str]:
        """Return it as fields of a form."""
        return {
            "status": self.status,
            "code": self.code,
            "school": self.school,
            "person": self.person,
        }


@dataclass(frozen=True, slots=True)
class FoundJobs:
    """Jobs, newest first, and the queue that they are in."""

    queue: Queue
    jobs: Sequence[QueuedJob]


async def find_jobs(
    db: Database,
    operator: Operator,
    wanted: JobFilter,
    *,
    before: datetime | None = None,
    limit: int = 50,
) -> FoundJobs:
    """Return jobs of everybody; *before* leaves out those queued then or later.

    Raises:
        InputInvalidError: the status or the person is none.
        ForbiddenError: see `looking_at_system`.
    """
    if wanted.status not in {"", *JobStatus}:
        raise InputInvalidError("Choose a status of the list.")
    async with looking_at_system(db, operator) as conn:
        jobs = await queue_admin.list_jobs(
            conn,
            status=JobStatus(wanted.status) if wanted.status else None,
            school=wanted.school or None,
            code=wanted.code or None,
            person_id=await _find_person(conn, wanted.person) if wanted.person else None,
            before=before,
            limit=limit,
        )
        return FoundJobs(await queue_admin.load_queue(conn), jobs)


async def load_job(db: Database, operator: Operator, job_id: UUID) -> tuple[QueuedJob, Queue]:
    """Return one job of anybody, and the queue that it is in.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: see `looking_at_system`.
    """
    async with looking_at_system(db, operator) as conn:
        return await queue_admin.load_job(conn, job_id), await queue_admin.load_queue(conn)


async def count_retryable(db: Database, operator: Operator, code: str | None) -> int:
    """Return how many jobs a retry of one error code, or of all, would queue again.

    Raises:
        ForbiddenError: see `looking_at_system`.
    """
    async with looking_at_system(db, operator) as conn:
        return await queue_admin.count_retryable(conn, code=code)


async def _find_person(conn: Connection, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        email = normalize_email(text)
    person_id = await people.find_by_email(conn, email) if email else None
    if person_id is None:
        raise InputInvalidError("Give a person's id, or their whole e-mail address.")
    return person_id
