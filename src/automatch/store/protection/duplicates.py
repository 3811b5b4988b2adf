"""Pairs of accounts that may be one person: detected by workers, decided by operators."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from psycopg.rows import class_row, tuple_row

from automatch.errors.request import NotFoundError
from automatch.model.matches import DuplicateState, SuspectedDuplicate
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection


async def detect_duplicates(conn: Connection, limit: int = 20) -> tuple[int, int]:
    """Compare some photos with all of their school; return how many, and how many pairs are new.

    For the worker's login. Nothing is compared while a job is pending.
    """
    row = await call_row(conn, "detect_duplicates", tuple_row, limit=limit)
    assert row is not None
    return row[0], row[1]


async def list_duplicates(
    conn: Connection, state: DuplicateState | None = DuplicateState.OPEN, limit: int = 50
) -> list[SuspectedDuplicate]:
    """Return pairs of accounts, closest first; None for all states."""
    rows = await call_rows(
        conn,
        "list_suspected_duplicates",
        class_row(SuspectedDuplicate),
        state=state and state.value,
        limit=limit,
    )
    return [replace(row, state=DuplicateState(row.state)) for row in rows]


async def load_duplicate(conn: Connection, pair_id: UUID) -> SuspectedDuplicate:
    """Return one pair, whatever its state.

    Raises:
        NotFoundError: there is no such pair, or one of the two accounts is gone.
    """
    row = await call_row(
        conn,
        "list_suspected_duplicates",
        class_row(SuspectedDuplicate),
        state=None,
        limit=1,
        id=pair_id,
    )
    if row is None:
        raise NotFoundError("There is no such pair; one of the two may have left.")
    return replace(row, state=DuplicateState(row.state))


async def decide(conn: Connection, actor: str, pair_id: UUID, state: DuplicateState) -> None:
    """Decide about a pair; `OPEN` undoes an earlier decision.

    Raises:
        NotFoundError: there is no such pair, or one of the two accounts is gone.
    """
    await call(conn, "decide_suspected_duplicate", id=pair_id, state=state.value, actor=actor)


async def is_matching(conn: Connection) -> bool:
    """Return whether two accounts that may be one person can match."""
    return bool(await call_value(conn, "get_match_same_person"))


async def set_matching(conn: Connection, actor: str, match: bool) -> None:
    """Set whether they can match; feeds change at once."""
    await call(conn, "set_match_same_person", match=match, actor=actor)
