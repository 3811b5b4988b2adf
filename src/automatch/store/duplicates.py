"""Accounts that look like one person: found by workers, decided by operators."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from psycopg.rows import class_row, tuple_row

from automatch.model.matches import DuplicateState, SuspectedDuplicate
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection


async def detect_duplicates(conn: Connection, limit: int = 20) -> tuple[int, int]:
    """Compare some photos with all of their school; how many, and how many pairs are new.

    For the login of the worker. Nothing is compared while a job waits for its turn.
    """
    row = await call_row(conn, "detect_duplicates", tuple_row, limit=limit)
    assert row is not None
    return row[0], row[1]


async def list_duplicates(
    conn: Connection, state: DuplicateState | None = DuplicateState.OPEN, limit: int = 50
) -> list[SuspectedDuplicate]:
    """Return pairs of accounts, closest first; None lets all states through."""
    rows = await call_rows(
        conn,
        "list_suspected_duplicates",
        class_row(SuspectedDuplicate),
        state=state and state.value,
        limit=limit,
    )
    return [replace(row, state=DuplicateState(row.state)) for row in rows]


async def decide(conn: Connection, actor: str, pair_id: UUID, state: DuplicateState) -> None:
    """Say what a pair is; `OPEN` takes an earlier decision back.

    Raises:
        NotFoundError: there is no such pair, or one of the two has left.
    """
    await call(conn, "decide_suspected_duplicate", id=pair_id, state=state.value, actor=actor)


async def is_matching(conn: Connection) -> bool:
    """Return whether two accounts that look like one person match like any two."""
    return bool(await call_value(conn, "get_match_same_person"))


async def set_matching(conn: Connection, actor: str, match: bool) -> None:
    """Let them match, or not; feeds follow at once."""
    await call(conn, "set_match_same_person", match=match, actor=actor)
