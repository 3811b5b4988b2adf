"""What `match-generator` reads of the queue: due jobs and their progress; for the API's login."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from automatch.store.call import call_row, call_value, call_values
from automatch.store.database import Connection


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of some jobs."""

    open: int
    """Jobs that are pending or processing."""
    matches: int
    """Matches found by the completed ones."""
    paused: bool
    worker_is_alive: bool
    """Whether a worker holds any job and renews its lease."""


async def is_trigger_key(conn: Connection, key: str) -> bool:
    """Return whether *key* is the key with which the schedule starts matching."""
    digest = hashlib.sha256(key.encode()).digest()
    return bool(await call_value(conn, "is_trigger_key", sha256=digest))


async def list_due_jobs(conn: Connection, limit: int) -> list[UUID]:
    """Return jobs that are due, in the order in which workers claim them."""
    return await call_values(conn, "list_due_match_jobs", limit=limit)


async def load_progress(conn: Connection, job_ids: Sequence[UUID]) -> Progress:
    """Return the progress of jobs; one that was erased meanwhile counts as ended."""
    progress = await call_row(
        conn, "get_match_job_progress", class_row(Progress), job_ids=list(job_ids)
    )
    assert progress is not None
    return progress
