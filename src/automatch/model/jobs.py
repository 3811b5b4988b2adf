"""Jobs and the state of the queue."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from automatch.model.faces import FaceBox


class JobStatus(StrEnum):
    """Where a job is; docs/job-lifecycle.md draws who moves it."""

    PENDING = "pending"
    """Waiting for a worker, or for the time of its next attempt."""
    PROCESSING = "processing"
    """A worker holds it under a lease."""
    COMPLETED = "completed"
    """Searched; its 0 to 20 matches are written."""
    FAILED = "failed"
    """Ended with a reason; nothing more happens by itself."""

    @property
    def is_final(self) -> bool:
        return self in (JobStatus.COMPLETED, JobStatus.FAILED)


@dataclass(frozen=True, slots=True)
class RefusedPhoto:
    """The picture that is kept of a refused photo, for its owner alone."""

    width: int
    height: int
    face: FaceBox | None
    """The face at fault, if one was found."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its owner sees it."""

    id: UUID
    face_id: UUID
    status: JobStatus
    attempts: int
    max_attempts: int
    error_code: str | None
    error_message: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    match_count: int | None
    timings: dict[str, float]
    """Milliseconds: see `match_jobs.timings` in docs/job-lifecycle.md."""
    faces: tuple[FaceBox, ...] = ()
    """While it asks which face is its owner's: all of them, the largest first."""
    refused: RefusedPhoto | None = None
    """After a refusal, if there is a picture to show."""
    request_id: UUID | None = None
    """Of the request that queued it."""
    matches_now: int | None = None
    """How many people the photo matches by now; `match_count` is what its search found."""

    @property
    def log_fields(self) -> dict[str, str]:
        """What each log line about the job carries."""
        return _log_fields(self.id, self.request_id)


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job as the worker that holds it sees it."""

    id: UUID
    token: int
    """The fence: every write of this attempt names it."""
    attempts: int
    max_attempts: int
    face_id: UUID
    image_path: str
    is_embedded: bool
    """Whether the face has an embedding of the active model already."""
    isolated: bool
    """A worker was lost with it: it runs alone, so that it takes no other along."""
    position: int
    """Its turn on the line; the next claim need not look before it."""
    chosen: FaceBox | None = None
    """Which of several faces its owner said is theirs."""
    model: str = "dlib"
    """The face model in use when it was claimed."""
    age_s: float = 0
    """Since the upload, when it was claimed: by the clock of the database."""
    request_id: UUID | None = None
    """Of the request that queued it."""
    claimed_at: float = field(default_factory=time.monotonic, compare=False)
    """By the clock of this process (`time.monotonic`)."""

    @property
    def log_fields(self) -> dict[str, str]:
        """What each log line about the job carries."""
        return _log_fields(self.id, self.request_id)


def _log_fields(job_id: UUID, request_id: UUID | None) -> dict[str, str]:
    request = {"request": request_id.hex} if request_id else {}
    return {"job": str(job_id), **request}


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job as the operator sees it: of anybody, and never with their name or photo."""

    id: UUID
    face_id: UUID
    user_id: UUID
    school: str
    status: JobStatus
    priority: int
    """1: a person's first photo; 2: any other; 3: work that nobody waits for."""
    attempts: int
    max_attempts: int
    error: dict[str, str] | None
    """`code` and `message`; while pending, why the attempt before did not work out."""
    created_at: datetime
    run_at: datetime | None
    """Not before this time; None while its school is paused."""
    started_at: datetime | None
    completed_at: datetime | None
    scheduled: bool
    """Waits for `run_at` and not for its turn."""
    isolated: bool
    worker_id: UUID | None
    lease_expires_at: datetime | None
    threshold: float | None
    """Of this run; None is that of `match_settings`."""
    match_count: int | None
    timings: dict[str, float]
    """See `Job`; with `delivered_ms` until the uploader's open page had the first match, and
    `others_delivered_ms` until the last open page of those who were found had theirs."""
    reached: int = 0
    """People whose page was open when a match was made, and was written to."""
    seen_later: int = 0
    """People who saw a match on a page that opened afterwards."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue at a glance."""

    paused: bool
    """As a whole; schools may be paused besides."""
    concurrency: int | None
    """Jobs that one worker may hold at once; None leaves it to the workers' settings."""
    paused_schools: list[str]
    waiting: int
    """Jobs that have their turn on the line."""
    scheduled: int
    """Jobs that wait for the time of a retry, or for their school to go on."""
    processing: int
    expired_leases: int
    """Jobs in `processing` that nobody works on any more; the next sweep takes them back."""
    workers: int
    """Workers that hold jobs this moment."""
    oldest_waiting_s: float | None


@dataclass(frozen=True, slots=True)
class StatusCount:
    """How many jobs are in a status."""

    status: JobStatus
    count: int
    oldest_created_at: datetime
    avg_seconds: float | None
    """From the upload to the end; None for those that have not ended."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What an upload answers with."""

    face_id: UUID
    job_id: UUID | None
    """None when the job of an earlier upload is gone, until its file is stored again."""
    job_status: JobStatus
    is_new: bool
    """False when the same person sent the same photo before, and nothing is queued for it."""
    error_code: str | None = None
    """Why the job of a photo that was sent before has failed."""
    error_message: str | None = None
