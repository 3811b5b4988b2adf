"""The queue as workers use it. Each function is one call of the SQL function that owns the change.

All of them are for the worker's login (`Database.connection`, `Database.pipelined_transaction`).
Those that change a claimed job name its token, and return the jobs that were still held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from psycopg import AsyncCursor
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from automatch.errors import AutomatchError
from automatch.errors.photo import SeveralFacesError
from automatch.model.faces import FaceBox
from automatch.model.jobs import ClaimedJob
from automatch.settings.worker import WorkerSettings
from automatch.sql.statements import load
from automatch.store.database import Connection, Database

_SQL = load("queue")
_MOST_FACES = 64
"""A photo with more is no photo of a person; the database keeps no more either."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A wish for jobs."""

    worker_id: UUID
    limit: int
    lease_s: float
    floor: int = 0
    """No turn before this one is looked at; 0 looks at all."""


@dataclass(frozen=True, slots=True)
class SeenJob:
    """What a worker saw on the photo of a job it holds."""

    job: ClaimedJob
    embedding: np.ndarray[Any, np.dtype[np.float32]]
    quality: dict[str, float]
    timings: dict[str, float]
    model: str = "dlib"
    """With which it was seen."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A job that did not work out, and what its owner is told."""

    job: ClaimedJob
    error: AutomatchError
    message: str

    @property
    def code(self) -> str:
        return self.error.code


@dataclass(frozen=True, slots=True)
class Shortlist:
    """What a search in memory found: nobody who belongs to the answer is missing."""

    school: str
    gender: str
    """Of the people who were searched."""
    face_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class Settlement:
    """How the jobs of a batch end, and what is claimed with the same commit."""

    complete: Sequence[ClaimedJob] = ()
    """To be searched for and finished."""
    shortlists: Mapping[UUID, Shortlist] = field(default_factory=dict)
    """By job; the database searches for the jobs that have none."""
    fail: Sequence[Refusal] = ()
    retry: Sequence[Refusal] = ()
    release: Sequence[ClaimedJob] = ()
    release_delay_s: float = 0
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement came to."""

    matches: dict[UUID, int]
    """Number of matches of each job that was completed; the others had been given away."""
    claimed: list[ClaimedJob]


async def claim_jobs(conn: Connection, claim: Claim) -> list[ClaimedJob]:
    """Take the next due jobs under a lease."""
    return await (await _claim(conn, claim)).fetchall()


async def seconds_to_next_job(conn: Connection) -> float | None:
    """Return how long until a waiting job can be claimed; None when none waits for its time."""
    cursor = await conn.execute(_SQL["seconds_to_next"])
    row = await cursor.fetchone()
    return row[0] if row else None


async def renew_leases(conn: Connection, jobs: Sequence[ClaimedJob], lease_s: float) -> set[UUID]:
    """Renew the leases of *jobs*; return the ids of those that are still held."""
    return await _ids(await conn.execute(_SQL["renew"], {**_held(jobs), "lease_s": lease_s}))


async def store_embeddings(conn: Connection, seen: Sequence[SeenJob], *, model: str) -> set[UUID]:
    """Keep what was seen; return the ids of the jobs that are still held.

    Jobs seen with another model than the one in use are given back.
    """
    cursor = await conn.execute(
        _SQL["store_embeddings"],
        {
            **_held([one.job for one in seen]),
            "embeddings": [one.embedding for one in seen],
            "model": model,
            "quality": [Jsonb(one.quality) for one in seen],
            "timings": [Jsonb(one.timings) for one in seen],
        },
    )
    return await _ids(cursor)


async def settle(db: Database, settlement: Settlement, settings: WorkerSettings) -> Settled:
    """Bring jobs to their ends and claim the next, in one commit and one round trip.

    Asking again after a lost answer is harmless: a job that this very attempt completed counts as
    completed.
    """
    async with db.pipelined_transaction() as conn:
        completed = claimed = None
        if settlement.complete:
            completed = await _finish(conn, settlement.complete, settlement.shortlists)
        if settlement.fail:
            boxes = [_boxes(refusal.error) for refusal in settlement.fail]
            await conn.execute(_SQL["fail"], {**_refused(settlement.fail), "face_boxes": boxes})
        if settlement.retry:
            await conn.execute(
                _SQL["retry"],
                {
                    **_refused(settlement.retry),
                    "first_delay_s": settings.backoff_s,
                    "longest_delay_s": settings.backoff_max_s,
                },
            )
        if settlement.release:
            await conn.execute(
                _SQL["release"],
                {**_held(settlement.release), "delay_s": settlement.release_delay_s},
            )
        if settlement.claim is not None:
            claimed = await _claim(conn, settlement.claim)
    matches = dict(await completed.fetchall()) if completed else {}
    return Settled(matches, await claimed.fetchall() if claimed else [])


async def release_jobs(conn: Connection, jobs: Sequence[ClaimedJob]) -> int:
    """Give jobs back without costing an attempt; the number that were still held."""
    return await _count(await conn.execute(_SQL["release"], {**_held(jobs), "delay_s": 0}))


async def sweep_jobs(conn: Connection) -> int:
    """Take back the jobs of workers that stopped answering; the number of them."""
    return await _count(await conn.execute(_SQL["sweep"]))


async def clean_up_jobs(conn: Connection, days: int) -> int:
    """Delete finished jobs older than *days*, some thousand at most; the number of them."""
    return await _count(await conn.execute(_SQL["clean_up"], {"days": days}))


async def erase_unanswered_photos(conn: Connection, seconds: int) -> int:
    """Erase photos of one person who was asked so long ago which face is theirs; how many."""
    return await _count(await conn.execute(_SQL["erase_unanswered"], {"seconds": seconds}))


async def count_pending_jobs(conn: Connection, most: int) -> int:
    """Return how many jobs wait, counted up to *most*. For the login of the server."""
    return await _count(await conn.execute(_SQL["count_waiting"], {"most": most}))


async def _finish(
    conn: Connection, jobs: Sequence[ClaimedJob], shortlists: Mapping[UUID, Shortlist]
) -> AsyncCursor[Any]:
    if not shortlists:
        return await conn.execute(_SQL["complete"], _held(jobs))
    lists = [shortlists.get(job.id) for job in jobs]
    return await conn.execute(
        _SQL["finish"],
        {
            **_held(jobs),
            "schools": [one and one.school for one in lists],
            "genders": [one and one.gender for one in lists],
            "lengths": [len(one.face_ids) if one else 0 for one in lists],
            "face_ids": [face for one in lists if one for face in one.face_ids],
        },
    )


async def _claim(conn: Connection, claim: Claim) -> AsyncCursor[ClaimedJob]:
    cursor = conn.cursor(row_factory=kwargs_row(_claimed))
    return await cursor.execute(
        _SQL["claim"],
        {
            "worker_id": claim.worker_id,
            "limit": claim.limit,
            "lease_s": claim.lease_s,
            "floor": claim.floor,
        },
    )


def _claimed(*, chosen: Mapping[str, float] | None, **columns: Any) -> ClaimedJob:
    return ClaimedJob(**columns, chosen=FaceBox.from_json(chosen) if chosen else None)


def _boxes(error: AutomatchError) -> Jsonb | None:
    """Return what a job asks with, that failed because its photo shows several faces."""
    if not isinstance(error, SeveralFacesError) or not error.boxes:
        return None
    boxes = [FaceBox.of_corners(*corners) for corners in error.boxes[:_MOST_FACES]]
    return Jsonb([asdict(box) for box in boxes])


def _held(jobs: Sequence[ClaimedJob]) -> dict[str, Any]:
    return {"job_ids": [job.id for job in jobs], "tokens": [job.token for job in jobs]}


def _refused(refusals: Sequence[Refusal]) -> dict[str, Any]:
    return {
        **_held([refusal.job for refusal in refusals]),
        "codes": [refusal.code for refusal in refusals],
        "messages": [refusal.message for refusal in refusals],
    }


async def _ids(cursor: AsyncCursor[Any]) -> set[UUID]:
    return {row[0] for row in await cursor.fetchall()}


async def _count(cursor: AsyncCursor[Any]) -> int:
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
