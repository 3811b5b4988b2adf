"""Session state of pooled connections: nothing of it passes from one caller to the next.

A statement that is not ours (an operator's, or one that was smuggled in) can leave settings, a
role, notifications or cursors behind that outlive its transaction. Taking them back travels with
the commit, and keeps the prepared statements, unlike `discard all`. Temporary tables are not to be
made at all: see `sql/compat`.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import AsyncConnection

from automatch.sql.statements import load

_SQL = load("database")


async def reset(conn: AsyncConnection[Any]) -> None:
    """Reset the session outside of a transaction."""
    # Several statements in one message cannot be prepared.
    await conn.execute(_SQL["reset_session"], prepare=False)


async def commit(conn: AsyncConnection[Any]) -> None:
    """Commit the transaction and reset the session."""
    await conn.execute(_SQL["commit_and_reset_session"], prepare=False)


async def roll_back(conn: AsyncConnection[Any]) -> None:
    """Roll back a transaction if one is open, and reset the session; close it if that fails."""
    try:
        await conn.rollback()
        await reset(conn)
    except psycopg.Error:
        await conn.close()
    except BaseException:
        await conn.close()
        raise
