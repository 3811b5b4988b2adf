"""Jobs claimed as a worker does, without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from automatch.model.jobs import ClaimedJob

if TYPE_CHECKING:
    import psycopg


def claimed_jobs(conn: psycopg.Connection, limit: int) -> list[ClaimedJob]:
    """Claim the next jobs, up to *limit*."""
    rows = conn.execute(
        "select id, lease_token, attempts, max_attempts, face_id, image_path, is_embedded,"
        " isolated, position from public.claim_match_jobs(%s, %s, '1 hour')",
        [uuid4(), limit],
    ).fetchall()
    return [ClaimedJob(*row) for row in rows]
