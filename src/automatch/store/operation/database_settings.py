"""The settings that live in the database, by name."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from automatch.store.call import call, call_value
from automatch.store.database import Connection


async def read_settings(conn: Connection) -> dict[str, Any]:
    """Return the values of all of them."""
    values: dict[str, Any] = await call_value(conn, "read_settings")
    return values


async def change_setting(conn: Connection, name: str, value: Any) -> None:
    """Change one that takes effect by itself.

    Raises:
        NotFoundError: there is none of this name, or it has a function of its own.
        InputInvalidError: a constraint of its table refuses the value.
    """
    await call(conn, "change_setting", name=name, value=Jsonb(value))
