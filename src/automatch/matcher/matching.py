"""From a seen face to matches, in two commits.

The embedding is committed before the search: of two people who upload at once, at least the search
that comes later finds the other. The search, the matches, both feeds and the end of the job are the
second commit, which is whole or not there. Both are fenced by the job's token.
"""

from __future__ import annotations

from automatch.errors import LeaseLostError
from automatch.model import SERVICE, ClaimedJob
from automatch.store import jobs
from automatch.store.database import Database
from automatch.vision import SeenPhoto


async def keep_face(db: Database, job: ClaimedJob, seen: SeenPhoto, *, model_id: str) -> None:
    """Keep the embedding of a job's face; from now on others find it.

    Raises:
        LeaseLostError: another worker has the job; nothing was written.
    """
    async with db.as_user(SERVICE) as conn:
        kept = await jobs.store_embedding(
            conn,
            job,
            embedding=seen.face.embedding,
            model=model_id,
            quality=seen.quality,
            timings={f"{stage}_ms": round(ms, 1) for stage, ms in seen.timings.items()},
        )
    if not kept:
        raise LeaseLostError


async def match_face(db: Database, job: ClaimedJob) -> int:
    """Find the look-alikes of a job's face, write the matches and finish the job.

    Returns:
        The number of matches, 0 included.

    Raises:
        LeaseLostError: another worker has the job; nothing was written.
    """
    async with db.as_user(SERVICE) as conn:
        count = await jobs.complete_job(conn, job)
    if count is None:
        raise LeaseLostError
    return count
