"""What `match-generator` asks the queue: what is due, and how far it is. For the server's login."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from automatch.sql.statements import load
from automatch.store.database import Connection

_SQL = load("drain")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far some jobs are."""

    open: int
    """They wait for a worker, or one is at them."""
    matches: int
    """Found by those that are completed."""
    paused: bool
    worker_is_alive: bool
    """Whether some worker holds a job, of these or another, and renews its lease."""


async def is_trigger_key(conn: Connection, key: str) -> bool:
    """Tell whether *key* is the one with which the schedule starts matching."""
    digest = hashlib.sha256(key.encode()).digest()
    row = await (await conn.execute(_SQL["is_trigger_key"], {"sha256": digest})).fetchone()
    return bool(row and row[0])


async def list_due_jobs(conn: Connection, limit: int) -> list[UUID]:
    """Return jobs whose time has come, in the order in which workers take them."""
    rows = await (await conn.execute(_SQL["list_due"], {"limit": limit})).fetchall()
    return [job for (job,) in rows]


async def load_progress(conn: Connection, job_ids: Sequence[UUID]) -> Progress:
    """Return how far jobs are; one that was erased meanwhile counts as ended."""
    cursor = conn.cursor(row_factory=class_row(Progress))
    row = await (await cursor.execute(_SQL["follow"], {"job_ids": list(job_ids)})).fetchone()
    assert row is not None
    return row
