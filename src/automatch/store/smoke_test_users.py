"""Trials: two people who do not exist, made for `automatch verify` and erased again.

For the login of the server itself (`Database.connection`), like `automatch.store.queue_admin`.
"""

from __future__ import annotations

from uuid import UUID

from psycopg.rows import class_row

from automatch.model.people import SmokeTestPair
from automatch.sql.statements import load
from automatch.store.database import Connection

_SQL = load("trials")


async def start_trial(conn: Connection, actor: str) -> SmokeTestPair:
    """Make the two, and erase those of trials that were cut off."""
    async with conn.cursor(row_factory=class_row(SmokeTestPair)) as cursor:
        await cursor.execute(_SQL["start"], {"actor": actor})
        trial = await cursor.fetchone()
    assert trial is not None
    return trial


async def end_trial(conn: Connection, actor: str, trial_id: UUID) -> int:
    """Erase the two with all that is theirs; how many were still there."""
    cursor = await conn.execute(_SQL["end"], {"trial": trial_id, "actor": actor})
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
