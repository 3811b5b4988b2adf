"""The queue as workers use it: each function calls the SQL function that makes the change.

All of them are for the worker's login (`Database.connection`, `Database.pipelined_transaction`).
Those that change a claimed job name its token, and return the jobs that were still held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import numpy as np
from psycopg import AsyncCursor
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from automatch.errors import AutomatchError
from automatch.errors.photo import PhotoRejectedError, SeveralFacesError
from automatch.model.faces import FaceBox
from automatch.model.jobs import ClaimedJob
from automatch.settings.worker import WorkerSettings
from automatch.sql.statements import load
from automatch.store.call import call, call_value, call_values
from automatch.store.database import Connection, Database

_SQL = load("queue")
_MOST_FACES = 64
"""The database stores no more face boxes of a photo than this."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """How many jobs a worker asks for, and for how long."""

    worker_id: UUID
    limit: int
    lease_s: float
    min_position: int = 0
    """Jobs at lower positions of the queue are not read; 0 reads all."""


@dataclass(frozen=True, slots=True)
class JobEmbedding:
    """The embedding of a job's photo, and how it was made."""

    job: ClaimedJob
    embedding: np.ndarray[Any, np.dtype[np.float32]]
    quality: dict[str, Any]
    timings: dict[str, float]
    """Milliseconds; each name ends in `_ms`."""
    model: str = "dlib"
    detector: str | None = None


class FailureAction(StrEnum):
    """What becomes of a job that failed."""

    FAIL = "fail"
    """It has failed for good."""
    RETRY = "retry"
    """It is tried again later, until it has used all its attempts."""
    RELEASE = "release"
    """It is tried again soon and keeps its attempt."""


@dataclass(frozen=True, slots=True)
class JobFailure:
    """A job that could not be completed, and the message for the owner of its photo."""

    job: ClaimedJob
    error: AutomatchError
    message: str
    action: FailureAction

    @property
    def code(self) -> str:
        return self.error.code


@dataclass(frozen=True, slots=True)
class Candidates:
    """The faces that a search in memory found; nobody who belongs to the result is missing."""

    school: str
    gender: str
    """Of the people who were searched."""
    face_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class BatchCompletion:
    """What to write for a batch in one commit, and what to claim with it."""

    jobs: Sequence[ClaimedJob] = ()
    """To be searched for and completed."""
    failures: Sequence[JobFailure] = ()
    claim: ClaimRequest | None = None
    candidates: Mapping[UUID, Candidates] = field(default_factory=dict)
    """By job; the database searches for the jobs that have none."""
    release_delay_s: float = 0


@dataclass(frozen=True, slots=True)
class CompletionResult:
    """What the commit of a batch did."""

    matches: dict[UUID, int | None]
    """Number of matches of each completed job, None where the photo waits for a decision; jobs that
    were no longer held are missing."""
    claimed: list[ClaimedJob]


async def claim_jobs(conn: Connection, claim: ClaimRequest) -> list[ClaimedJob]:
    """Take the next due jobs under a lease."""
    return await (await _claim(conn, claim)).fetchall()


async def seconds_to_next_job(conn: Connection) -> float | None:
    """Return how long until a waiting job can be claimed; None when none waits for its time."""
    seconds: float | None = await call_value(conn, "seconds_to_next_match_job")
    return seconds


async def renew_leases(conn: Connection, jobs: Sequence[ClaimedJob], lease_s: float) -> set[UUID]:
    """Renew the leases of *jobs*; return the ids of those that are still held."""
    lease = timedelta(seconds=lease_s)
    return set(await call_values(conn, "renew_match_leases", **_held(jobs), lease=lease))


async def lead_maintenance(conn: Connection, worker_id: UUID, seconds: float) -> bool:
    """Become or stay the worker that does the maintenance; False while another one is."""
    lead_for = timedelta(seconds=seconds)
    return bool(
        await call_value(conn, "lead_maintenance", worker_id=worker_id, **{"for": lead_for})
    )


async def report_worker_fault(conn: Connection, worker_id: UUID, message: str | None) -> None:
    """Let operators see why a worker has paused; None says that it works again."""
    await call(conn, "report_worker_fault", worker_id=worker_id, message=message)


async def store_embeddings(
    conn: Connection, embeddings: Sequence[JobEmbedding], *, model: str
) -> set[UUID]:
    """Store embeddings; return the ids of the jobs that are still held.

    Jobs whose embedding is of another model than the active one are released.
    """
    held = await call_values(
        conn,
        "store_face_embeddings",
        **_held([embedding.job for embedding in embeddings]),
        embeddings=[embedding.embedding for embedding in embeddings],
        model=model,
        quality=[Jsonb(embedding.quality) for embedding in embeddings],
        timings=[Jsonb(embedding.timings) for embedding in embeddings],
        detectors=[embedding.detector for embedding in embeddings],
    )
    return set(held)


async def complete_batch(
    db: Database, completion: BatchCompletion, settings: WorkerSettings
) -> CompletionResult:
    """Complete, fail, retry and release jobs and claim the next, in one commit and round trip.

    It may be repeated when the answer was lost: a job that this attempt completed counts as
    completed again.
    """
    failures = {
        action: [failure for failure in completion.failures if failure.action is action]
        for action in FailureAction
    }
    async with db.pipelined_transaction() as conn:
        completed = claimed = None
        if completion.jobs:
            completed = await _complete(conn, completion.jobs, completion.candidates)
        if failed := failures[FailureAction.FAIL]:
            boxes = [_boxes(failure.error) for failure in failed]
            pictures = [_picture(failure.error) for failure in failed]
            await call(
                conn,
                "fail_match_jobs",
                **_failed(failed),
                face_boxes=boxes,
                refused_pictures=pictures,
            )
        if retried := failures[FailureAction.RETRY]:
            await call(
                conn,
                "retry_match_jobs",
                **_failed(retried),
                first_delay_s=settings.backoff_s,
                longest_delay_s=settings.backoff_max_s,
            )
        if released := failures[FailureAction.RELEASE]:
            await call(
                conn,
                "release_match_jobs",
                **_held([failure.job for failure in released]),
                delay=timedelta(seconds=completion.release_delay_s),
            )
        if completion.claim is not None:
            claimed = await _claim(conn, completion.claim)
    matches = dict(await completed.fetchall()) if completed else {}
    return CompletionResult(matches, await claimed.fetchall() if claimed else [])


async def release_jobs(
    conn: Connection, jobs: Sequence[ClaimedJob], *, new_turn: bool = False
) -> int:
    """Release jobs without costing an attempt; return how many were still held.

    They keep their turn, or come behind those who wait now.
    """
    held = _held(jobs)
    return int(await call_value(conn, "release_match_jobs", **held, new_turn=new_turn))


async def release_jobs_of(conn: Connection, worker_id: UUID) -> int:
    """Release all jobs that a worker holds, known to it or not; return how many."""
    return int(await call_value(conn, "release_worker_match_jobs", worker_id=worker_id))


async def sweep_jobs(conn: Connection) -> int:
    """Release the jobs whose lease has expired; return how many."""
    return int(await call_value(conn, "sweep_match_jobs"))


async def clean_up_jobs(conn: Connection, days: int) -> int:
    """Delete some thousand finished jobs older than *days*; return how many."""
    age = timedelta(days=days)
    return int(await call_value(conn, "cleanup_old_match_jobs", older_than=age))


async def erase_unanswered_photos(conn: Connection, seconds: int) -> int:
    """Erase photos whose owner has not chosen a face within *seconds*; return how many."""
    age = timedelta(seconds=seconds)
    return int(await call_value(conn, "erase_unanswered_photo", older_than=age))


async def count_pending_jobs(conn: Connection, limit: int) -> int:
    """Return how many jobs are pending, counting no further than *limit*; for the API's login."""
    return int(await call_value(conn, "count_waiting_match_jobs", limit=limit))


async def _complete(
    conn: Connection, jobs: Sequence[ClaimedJob], candidates: Mapping[UUID, Candidates]
) -> AsyncCursor[Any]:
    if not candidates:
        return await call(conn, "complete_match_jobs", **_held(jobs))
    by_job = [candidates.get(job.id) for job in jobs]
    return await call(
        conn,
        "complete_match_jobs_with_candidates",
        **_held(jobs),
        schools=[found and found.school for found in by_job],
        genders=[found and found.gender for found in by_job],
        lengths=[len(found.face_ids) if found else 0 for found in by_job],
        face_ids=[face for found in by_job if found for face in found.face_ids],
    )


async def _claim(conn: Connection, claim: ClaimRequest) -> AsyncCursor[ClaimedJob]:
    cursor = conn.cursor(row_factory=kwargs_row(_claimed))
    return await cursor.execute(
        _SQL["claim"],
        {
            "worker_id": claim.worker_id,
            "limit": claim.limit,
            "lease_s": claim.lease_s,
            "floor": claim.min_position,
        },
    )


def _claimed(*, chosen: Mapping[str, float] | None, **columns: Any) -> ClaimedJob:
    return ClaimedJob(**columns, chosen=FaceBox.from_json(chosen) if chosen else None)


def _boxes(error: AutomatchError) -> Jsonb | None:
    """Return the boxes with which the owner of a photo with several faces is asked for theirs."""
    if not isinstance(error, SeveralFacesError) or not error.boxes:
        return None
    boxes = [FaceBox.of_corners(*corners) for corners in error.boxes[:_MOST_FACES]]
    return Jsonb([asdict(box) for box in boxes])


def _picture(error: AutomatchError) -> Jsonb | None:
    """Return what is known of the picture that the owner of a refused photo is shown."""
    picture = error.picture if isinstance(error, PhotoRejectedError) else None
    if picture is None:
        return None
    face = picture.face and asdict(FaceBox.of_corners(*picture.face))
    return Jsonb({"width": picture.width, "height": picture.height, "face": face})


def _held(jobs: Sequence[ClaimedJob]) -> dict[str, Any]:
    return {"job_ids": [job.id for job in jobs], "tokens": [job.token for job in jobs]}


def _failed(failures: Sequence[JobFailure]) -> dict[str, Any]:
    return {
        **_held([failure.job for failure in failures]),
        "codes": [failure.code for failure in failures],
        "messages": [failure.message for failure in failures],
    }
