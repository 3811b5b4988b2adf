"""Jobs as their owners see them. How workers claim and complete them is in store/queue/queue.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, dict_row, kwargs_row

from automatch.errors.request import NotFoundError
from automatch.model.faces import FaceBox
from automatch.model.jobs import Job, JobStatus, RefusedPhoto
from automatch.model.matches import MatchPool
from automatch.sql.statements import load
from automatch.store.call import call_row, call_value
from automatch.store.database import Connection

_SQL = load("jobs")


async def list_jobs(conn: Connection, limit: int = 20) -> list[Job]:
    """Return the caller's jobs, newest first."""
    async with conn.cursor(row_factory=kwargs_row(job_of)) as cursor:
        await cursor.execute(_SQL["list"], {"limit": limit})
        return await cursor.fetchall()


async def load_job(conn: Connection, job_id: UUID) -> Job:
    """Return one job of the caller.

    Raises:
        NotFoundError: there is none, or it is another's.
    """
    async with conn.cursor(row_factory=kwargs_row(job_of)) as cursor:
        await cursor.execute(_SQL["load"], {"job_id": job_id})
        job = await cursor.fetchone()
    if job is None:
        raise NotFoundError
    return job


async def choose_face(conn: Connection, job_id: UUID, index: int) -> JobStatus:
    """Choose the caller's face on a photo with several; return the status of its job.

    The same choice again changes nothing.

    Raises:
        NotFoundError: the caller has no such job.
        FaceNotAskedError: the job does not ask for a face, or no longer.
        InputInvalidError: the photo has no face with this index.
        ConsentRequiredError: the caller has not agreed to face matching.
        ProfileIncompleteError: the caller's school or gender is missing.
    """
    row = await call_row(conn, "choose_face", dict_row, job_id=job_id, index=index)
    assert row is not None
    return JobStatus(row["job_status"])


async def is_search_paused(conn: Connection) -> bool:
    """Return whether an operator has paused the searches of the caller's school."""
    return bool(await call_value(conn, "is_search_paused"))


async def load_pool(conn: Connection) -> MatchPool | None:
    """Return how many people the caller's searches cover; None without a profile."""
    return await call_row(conn, "match_pool", class_row(MatchPool))


async def explain_job(conn: Connection, job_id: UUID) -> MatchPool | None:
    """Return the same for one job, with how many people reach its threshold now.

    None when the job is another's, or its photo has no embedding of the active model.
    """
    return await call_row(conn, "explain_match_job", class_row(MatchPool), job_id=job_id)


def job_of(
    *,
    status: str,
    face_boxes: Sequence[Mapping[str, float]] | None,
    refused_picture: Mapping[str, Any] | None,
    **columns: Any,
) -> Job:
    """Return a job of the columns of its row."""
    boxes = tuple(FaceBox.from_json(box) for box in face_boxes or ())
    refused = None
    if refused_picture:
        box = refused_picture["face"]
        face = FaceBox.from_json(box) if box else None
        refused = RefusedPhoto(refused_picture["width"], refused_picture["height"], face)
    return Job(**columns, status=JobStatus(status), faces=boxes, refused=refused)
