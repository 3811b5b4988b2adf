"""Trials: two people who do not exist, made for `automatch verify` and erased again.

For the login of the server itself (`Database.alone`), like `automatch.store.operator`.
"""

from __future__ import annotations

from uuid import UUID

from psycopg.rows import class_row

from automatch.model import Trial
from automatch.store.database import Connection
from automatch.store.queries import load

_SQL = load("trials")


async def start_trial(conn: Connection, actor: str) -> Trial:
    """Make the two, and erase those of trials that were cut off."""
    async with conn.cursor(row_factory=class_row(Trial)) as cursor:
        await cursor.execute(_SQL["start"], {"actor": actor})
        trial = await cursor.fetchone()
    assert trial is not None
    return trial


async def end_trial(conn: Connection, actor: str, trial_id: UUID) -> int:
    """Erase the two with all that is theirs; how many were still there."""
    cursor = await conn.execute(_SQL["end"], {"trial": trial_id, "actor": actor})
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
