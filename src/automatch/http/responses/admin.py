"""Answers to operators; commands print the same as JSON."""

from __future__ import annotations

from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from automatch.model.jobs import Queue, QueuedJob, StatusCount
from automatch.model.matches import SuspectedDuplicate
from automatch.model.operators import AuditEntry
from automatch.model.people import Gender
from automatch.services.matching.match_generator import DrainedQueue
from automatch.services.people.smoke_test_users import SmokeTest
from automatch.services.protection.duplicates import DuplicatesOverview
from automatch.services.queue.queue import QueueOverview


class QueueResponse(BaseModel):
    """The queue at a glance."""

    queue: Queue
    statuses: list[StatusCount]

    @classmethod
    def from_overview(cls, overview: QueueOverview) -> Self:
        """Return the answer about the queue."""
        return cls(queue=overview.queue, statuses=list(overview.statuses))


class AdminJobResponse(BaseModel):
    """One job of anybody."""

    job: QueuedJob


class AdminJobsResponse(BaseModel):
    """Jobs of everybody, newest first."""

    jobs: list[QueuedJob]


class JobId(BaseModel):
    """A job by its id."""

    id: UUID


class RequeuedJobResponse(BaseModel):
    """The job that searches once more."""

    job: JobId


class CountResponse(BaseModel):
    """How many things an act has changed."""

    count: int


class WaitingResponse(BaseModel):
    """How many jobs wait now, or go on."""

    waiting: int


class ConcurrencyResponse(BaseModel):
    """How many jobs each worker may hold at once; null leaves it to the workers' settings."""

    jobs: int | None


class AuditResponse(BaseModel):
    """What operators did, newest first."""

    entries: list[AuditEntry]


class DuplicatesResponse(BaseModel):
    """Accounts that look like one person, closest pair first."""

    duplicates: list[SuspectedDuplicate]
    match: bool = Field(description="Whether such pairs match like any two people.")

    @classmethod
    def from_overview(cls, overview: DuplicatesOverview) -> Self:
        """Return the answer about duplicates."""
        return cls(duplicates=list(overview.duplicates), match=overview.match)


class MatchingResponse(BaseModel):
    """Whether two accounts that look like one person match."""

    match: bool


class SmokeTestPersonResponse(BaseModel):
    """Somebody who does not exist, and the token with which they ask."""

    id: UUID
    gender: Gender
    access_token: str


class SmokeTestResponse(BaseModel):
    """Two people in a school of their own, who have not consented yet."""

    id: UUID
    school: str
    people: list[SmokeTestPersonResponse]

    @classmethod
    def from_smoke_test(cls, smoke_test: SmokeTest) -> Self:
        """Return the answer about a smoke test that was started."""
        return cls.model_validate(smoke_test, from_attributes=True)


class MatchGeneratorResponse(BaseModel):
    """What came of the jobs that waited, in the words of the deployment guide."""

    model_config = ConfigDict(serialize_by_alias=True)

    success: Literal[True] = True
    message: Literal["Matches generated successfully", "No pending jobs"]
    processed: bool
    match_count: int = Field(serialization_alias="matchCount")

    @classmethod
    def from_drained_queue(cls, drained: DrainedQueue) -> Self:
        """Return the answer about jobs that were waited for."""
        message: Literal["Matches generated successfully", "No pending jobs"] = (
            "Matches generated successfully" if drained.had_jobs else "No pending jobs"
        )
        return cls(message=message, processed=drained.had_jobs, match_count=drained.match_count)


class IdentityResponse(BaseModel):
    """What only a server with the secrets of an installation can answer."""

    proof: str = Field(description="HMAC-SHA256 of the challenge, in hex.")


class StatusResponse(BaseModel):
    """Whether the server works."""

    status: Literal["ok", "ready"]
