"""All that is kept about one person, row by row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from automatch.sql.statements import load
from automatch.store.database import Connection

_SQL = load("personal_data")
_ROWS = 500


async def export_person(
    conn: Connection, person_id: UUID, salt: str
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Give what is kept about a person as (part, item), in the order of the parts.

    *conn* is in a transaction; without such a person there is nothing. Other people are
    pseudonyms, made with *salt*.
    """
    async with conn.cursor(name="export") as cursor:
        cursor.itersize = _ROWS
        await cursor.execute(_SQL["export"], {"profile_id": person_id, "salt": salt})
        async for part, item in cursor:
            yield part, item
