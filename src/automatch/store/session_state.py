"""Session state of pooled connections: nothing of it passes from one request to the next.

A statement that is not ours (an operator's, or one that somebody smuggled in) can leave settings, a
role, notifications, cursors or locks behind that outlive its transaction. Unlike `discard all` this
keeps the prepared statements; it costs what `select 1` does, and nothing where it travels with the
commit. Temporary tables are not to be made at all: see `sql/compat`.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from psycopg import AsyncConnection

from automatch.sql.statements import load

_SQL = load("database")


class SessionState:
    """Resets the sessions of one pool."""

    def __init__(self) -> None:
        self._was_reset: WeakSet[AsyncConnection[Any]] = WeakSet()

    async def commit(self, conn: AsyncConnection[Any]) -> None:
        """Commit the transaction and reset the session in one round trip."""
        await conn.execute(_SQL["commit_and_reset_session"], prepare=False)
        self._was_reset.add(conn)

    async def reset(self, conn: AsyncConnection[Any]) -> None:
        """Reset the session, unless that was done with its last commit."""
        if conn in self._was_reset:
            self._was_reset.discard(conn)
        else:
            await conn.execute(_SQL["reset_session"], prepare=False)
