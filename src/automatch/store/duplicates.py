"""Accounts that look like one person: found by workers, decided by operators."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from psycopg.rows import class_row

from automatch.model.matches import DuplicateState, SuspectedDuplicate
from automatch.sql.statements import load
from automatch.store.database import Connection

_SQL = load("duplicates")


async def detect_duplicates(conn: Connection, most: int = 20) -> tuple[int, int]:
    """Compare some photos with all of their school; how many, and how many pairs are new.

    For the login of the worker. Nothing is compared while a job waits for its turn.
    """
    cursor = await conn.execute(_SQL["look"], {"most": most})
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def list_duplicates(
    conn: Connection, state: DuplicateState | None = DuplicateState.OPEN, limit: int = 50
) -> list[SuspectedDuplicate]:
    """Return pairs of accounts, closest first; None lets all states through."""
    async with conn.cursor(row_factory=class_row(SuspectedDuplicate)) as cursor:
        await cursor.execute(_SQL["list"], {"state": state and state.value, "limit": limit})
        return [replace(row, state=DuplicateState(row.state)) for row in await cursor.fetchall()]


async def decide(conn: Connection, actor: str, pair_id: UUID, state: DuplicateState) -> None:
    """Say what a pair is; `OPEN` takes an earlier decision back.

    Raises:
        NotFoundError: there is no such pair, or one of the two has left.
    """
    await conn.execute(_SQL["decide"], {"id": pair_id, "state": state.value, "actor": actor})


async def is_matching(conn: Connection) -> bool:
    """Return whether two accounts that look like one person match like any two."""
    cursor = await conn.execute(_SQL["is_matching"])
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def set_matching(conn: Connection, actor: str, match: bool) -> None:
    """Let them match, or not; feeds follow at once."""
    await conn.execute(_SQL["set_matching"], {"match": match, "actor": actor})
