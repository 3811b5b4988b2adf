"""Answers about photos and their jobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from automatch.auth.photo_links import PhotoLinks
from automatch.errors.photo import SeveralFacesError
from automatch.http.responses import Timestamp
from automatch.model.faces import Face, FaceBox
from automatch.model.jobs import Job, JobStatus, Upload
from automatch.model.matches import MatchPool
from automatch.model.people import Claims
from automatch.search.explain import explain_few_matches

_QUEUED = "Photo uploaded! Matches generating in background..."
_REPEATED = "You've added this photo already"


class UploadedFace(BaseModel):
    """The face of an uploaded photo."""

    id: UUID


class QueuedJobResponse(BaseModel):
    """A job, and where it is now."""

    id: UUID
    status: JobStatus


class UploadResponse(BaseModel):
    """The answer to an upload, in the words of the deployment guide."""

    face: UploadedFace
    job: QueuedJobResponse
    message: str = _QUEUED
    """Of a photo that the caller sent before: that it was, and why it was refused if so."""

    @classmethod
    def from_upload(cls, upload: Upload) -> Self:
        """Return the answer to an upload."""
        assert upload.job_id is not None
        return cls(
            face=UploadedFace(id=upload.face_id),
            job=QueuedJobResponse(id=upload.job_id, status=upload.job_status),
            message=_QUEUED if upload.is_new else _describe_repeat(upload),
        )


class FaceChosenResponse(BaseModel):
    """The job whose question was answered."""

    job: QueuedJobResponse


class FaceResponse(BaseModel):
    """A photo of the caller."""

    id: UUID
    created_at: Timestamp
    embedded: bool
    """Whether a worker has processed the photo."""
    quality: dict[str, Any] | None
    image_url: str | None
    """A signed link that works for five minutes; null until a worker has processed the photo."""


class FacesResponse(BaseModel):
    """Photos of the caller, newest first."""

    faces: list[FaceResponse]

    @classmethod
    def from_faces(cls, faces: Iterable[Face], photo_links: PhotoLinks, viewer: Claims) -> Self:
        """Return the answer about the photos of a person."""
        return cls(
            faces=[
                FaceResponse(
                    id=face.id,
                    created_at=face.created_at,
                    embedded=face.embedding_model is not None,
                    quality=face.quality,
                    image_url=photo_links.sign(face.id, viewer) if face.embedding_model else None,
                )
                for face in faces
            ]
        )


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    message: str | None


class JobFace(BaseModel):
    """One of several faces on a photo, by the number that an answer names it with."""

    index: int
    box: FaceBox


class JobResponse(BaseModel):
    """A job, as its owner sees it."""

    id: UUID
    face_id: UUID
    status: JobStatus
    attempts: int
    max_attempts: int
    error: JobError | None
    faces: list[JobFace]
    """While the job asks which face is the caller's: all of them, the largest first."""
    match_count: int | None
    created_at: Timestamp
    started_at: Timestamp | None
    completed_at: Timestamp | None
    timings: dict[str, float]
    """Milliseconds: since `created_at` until it was claimed (`claimed_ms`), its face was findable
    (`embedded_ms`), searched for (`searched_ms`) and the matches were written (`written_ms`); and
    what the photo took (`decode_ms`, `detect_ms`, `embed_ms`)."""

    @classmethod
    def from_job(cls, job: Job) -> Self:
        """Return the answer about a job."""
        return cls(**_job_fields(job))


class MatchPoolResponse(BaseModel):
    """Among how many people a job searched; counts are rounded down to tens or more."""

    school: int
    other_gender: int
    findable: int
    hidden: int
    threshold: float
    over_threshold: int | None
    sentence: str
    """The likeliest reason for few matches, in plain words."""


class ExplainedJobResponse(JobResponse):
    """A job, and why it found few people or none."""

    why: MatchPoolResponse | None

    @classmethod
    def from_explained_job(cls, job: Job, pool: MatchPool | None) -> Self:
        """Return the answer about a job that searched among the people of *pool*."""
        why = None
        if pool is not None:
            sentence = explain_few_matches(pool, job.match_count or 0)
            why = MatchPoolResponse(**asdict(pool), sentence=sentence)
        return cls(**_job_fields(job), why=why)


class JobsResponse(BaseModel):
    """Jobs of the caller, newest first."""

    jobs: list[JobResponse]


class OneJobResponse(BaseModel):
    """One job of the caller."""

    job: ExplainedJobResponse


def _describe_repeat(upload: Upload) -> str:
    if upload.error_code is None:
        return f"{_REPEATED}."
    if upload.error_code == SeveralFacesError.code:
        return f"{_REPEATED}. {upload.error_message}"
    return f"{_REPEATED}, and it was refused: {upload.error_message}"


def _job_fields(job: Job) -> dict[str, Any]:
    error = None
    if job.error_code is not None:
        error = JobError(code=job.error_code, message=job.error_message)
    return {
        "id": job.id,
        "face_id": job.face_id,
        "status": job.status,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "error": error,
        "faces": [JobFace(index=index, box=box) for index, box in enumerate(job.faces)],
        "match_count": job.match_count,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "timings": job.timings,
    }
