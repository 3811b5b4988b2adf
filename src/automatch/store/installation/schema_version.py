"""Whether this program and the schema of the database work together.

While servers and workers are restarted one after the other, those of two versions run beside each
other. Each schema says how old a program may be that works on it, each program how old a schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from automatch.errors.store import DatabaseNewerError, DatabaseOlderError
from automatch.store.call import call

if TYPE_CHECKING:
    from automatch.store.database import Connection

SCHEMA = 1
"""The schema of this version; `schema_version()` in SQL says the same."""
_OLDEST_SCHEMA = 1
"""The oldest schema that this version works on."""


def is_known(version: int, oldest_program: int) -> bool:
    """Whether this version works on a schema that says this of itself."""
    return version >= _OLDEST_SCHEMA and oldest_program <= SCHEMA


async def check_schema(conn: Connection) -> None:
    """Return when this version works on the schema of the database.

    Raises:
        DatabaseOlderError: the database has to be migrated first.
        DatabaseNewerError: a newer Auto-Match migrated it, and this one works on it no more.
    """
    try:
        row = await (await call(conn, "schema_version")).fetchone()
    except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName) as exc:
        raise DatabaseOlderError from exc
    version, oldest_program = row or (0, 0)
    if version < _OLDEST_SCHEMA:
        raise DatabaseOlderError(
            f"The database has schema {version}, and this Auto-Match needs {_OLDEST_SCHEMA} or "
            "newer; run `automatch migrate`."
        )
    if oldest_program > SCHEMA:
        raise DatabaseNewerError(
            f"The database has schema {version}, and this Auto-Match knows it up to {SCHEMA}: "
            "install the version that migrated it, or a later one, and start it instead."
        )
