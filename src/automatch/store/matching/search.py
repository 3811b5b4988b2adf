"""What a search in the worker's memory reads.

For the login of the worker itself (`Database.connection`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.rows import class_row

from automatch.model.jobs import ClaimedJob
from automatch.sql.statements import load
from automatch.store.call import call, call_row
from automatch.store.database import Connection

_SQL = load("search")

BYTES_BESIDE_EMBEDDING = 33
"""Of a face in memory: two ids, and whether it is settled."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Truths = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What a job looks for."""

    job_id: UUID
    model: str
    school: str
    gender: str
    """Of the people who are searched."""
    embedding: Floats
    bound: float
    """The least cosine of a match."""
    match_count: int
    hidden: list[UUID]
    """People whom the person neither sees nor is shown to."""


@dataclass(frozen=True, slots=True)
class GroupFaces:
    """Faces of one group; row n of every array is one face."""

    face_ids: Bytes
    """Shape (faces, 16)."""
    profile_ids: Bytes
    """Shape (faces, 16)."""
    embeddings: Floats
    """Shape (faces, dimensions); half precision as the search copy has it, widened."""
    settled: Truths
    """Shape (faces,): whether the face counts as known in the next call."""

    def __len__(self) -> int:
        return len(self.settled)

    @property
    def bytes(self) -> int:
        """Memory that the rows take."""
        return (
            self.face_ids.nbytes
            + self.profile_ids.nbytes
            + self.embeddings.nbytes
            + self.settled.nbytes
        )

    def where(self, chosen: Truths) -> GroupFaces:
        """Return the chosen rows."""
        return GroupFaces(
            self.face_ids[chosen],
            self.profile_ids[chosen],
            self.embeddings[chosen],
            self.settled[chosen],
        )

    def followed_by(self, more: GroupFaces) -> GroupFaces:
        """Return the rows of both."""
        if not len(self) or not len(more):
            return more if len(more) else self
        return GroupFaces(
            np.concatenate([self.face_ids, more.face_ids]),
            np.concatenate([self.profile_ids, more.profile_ids]),
            np.concatenate([self.embeddings, more.embeddings]),
            np.concatenate([self.settled, more.settled]),
        )


@dataclass(frozen=True, slots=True)
class GroupDelta:
    """What a look at a group gave."""

    known: int
    """How many faces of the group are older than the `snapshot_xmin` of the call."""
    snapshot_xmin: str
    """What to name next time."""
    faces: GroupFaces
    """All others."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What the audits of the last day say."""

    audits: int
    recall: float | None
    """Share of the people to be found that was found; None when there was nobody to be found."""
    short_answers: int
    """Searches that missed somebody."""


async def read_recall(conn: Connection) -> Recall:
    """Return how well searches did that were made again by brute force."""
    recall = await call_row(conn, "get_search_recall", class_row(Recall))
    assert recall is not None
    return recall


async def clean_up_audits(conn: Connection, days: int) -> None:
    """Delete audits older than *days*."""
    await call(conn, "clean_up_search_audits", older_than=timedelta(days=days))


async def read_jobs(conn: Connection, jobs: Sequence[ClaimedJob]) -> list[SearchRequest]:
    """Return what each job looks for; jobs that cannot be searched for are missing."""
    cursor = await conn.execute(
        _SQL["read_jobs"],
        {"job_ids": [job.id for job in jobs], "tokens": [job.token for job in jobs]},
        binary=True,
    )
    return [
        SearchRequest(job_id, model, school, gender, embedding.to_numpy(), *rest)
        for job_id, model, school, gender, embedding, *rest in await cursor.fetchall()
    ]


async def read_group(
    conn: Connection,
    model: str,
    school: str,
    gender: str,
    *,
    snapshot_xmin: str | None = None,
    max_faces: int | None = None,
) -> GroupDelta | None:
    """Return the faces of a group that are not older than *snapshot_xmin*; without one, all.

    None where all are more than *max_faces*; they are not read then.
    """
    parameters = {
        "model": model,
        "school": school,
        "gender": gender,
        "snapshot_xmin": snapshot_xmin,
        "max_faces": max_faces,
    }
    cursor = await conn.execute(_SQL["read_group"], parameters, binary=True)
    row = await cursor.fetchone()
    assert row is not None
    known, snapshot_xmin, *columns = row
    if known is None:
        return None
    # Bytes of a large group take a while to copy, and the event loop has other things to do.
    faces = await asyncio.to_thread(_parse, *columns)
    return GroupDelta(known, snapshot_xmin, faces)


def _parse(face_ids: bytes, profile_ids: bytes, embeddings: bytes, settled: bytes) -> GroupFaces:
    count = len(settled)
    # A halfvec is sent as two 16-bit words (length, nothing) and its numbers, high byte first.
    numbers = np.frombuffer(embeddings, ">f2").reshape(count, -1 if count else 2)[:, 2:]
    return GroupFaces(
        np.frombuffer(face_ids, np.uint8).reshape(count, 16),
        np.frombuffer(profile_ids, np.uint8).reshape(count, 16),
        numbers.astype(np.float32),
        np.frombuffer(settled, np.bool_),
    )
