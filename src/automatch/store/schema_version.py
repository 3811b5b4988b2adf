"""Whether the schema of a database is one that this version works with."""

from __future__ import annotations

from functools import cache

import psycopg

from automatch.errors.store import NotReadyError
from automatch.sql.statements import SQL_FOLDER
from automatch.store.call import call_value
from automatch.store.database import Connection


@cache
def newest_migration() -> str:
    """Return the newest migration of this version."""
    return max(file.name for file in (SQL_FOLDER / "migrations").glob("*.sql")).partition("_")[0]


async def check_schema(conn: Connection) -> None:
    """Return when the database has every migration of this version, and perhaps newer ones.

    Raises:
        NotReadyError: it lacks one.
    """
    try:
        is_there = await call_value(conn, "has_migration", version=newest_migration())
    except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName):
        is_there = False
    # Where nobody keeps a ledger, nobody knows.
    if is_there is False:
        raise NotReadyError(
            "The schema of the database is older than this version; run `automatch migrate`."
        )
