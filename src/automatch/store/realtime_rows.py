"""New matches of a person, in the order of their commits, for Realtime."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row

from automatch.sql.statements import load
from automatch.store.call import call_value
from automatch.store.database import Connection

_SQL = load("realtime_rows")


async def load_match_number(conn: Connection) -> int:
    """Return the number of the caller's newest match, 0 without any."""
    return int(await call_value(conn, "last_match_number"))


async def load_new_matches(
    conn: Connection, *, after: int, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Return new rows as the caller may read them, and the number to continue after.

    The number is None when there is nothing more. Rows that are deleted or that the caller may not
    see are left out.
    """
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_SQL["matches_after"], {"number": after, "limit": limit})
        rows = await cursor.fetchall()
    last = rows[-1]["number"] if rows else None
    for row in rows:
        del row["number"]
    return [row for row in rows if row["id"] is not None], last
