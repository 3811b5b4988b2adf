"""Calls of the database's functions: an act is an SQL function, a Python function, nothing between.

A function's name comes with its schema, `public` left out. Its parameter `p_limit` is given as
`limit=`; parameters that are left out have their defaults.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg import sql

if TYPE_CHECKING:
    from psycopg import AsyncCursor
    from psycopg.rows import AsyncRowFactory

    from automatch.store.database import Connection

_Row = TypeVar("_Row")


async def call(
    conn: Connection, function: str, /, **arguments: object
) -> AsyncCursor[tuple[Any, ...]]:
    """Call a function; inside a pipeline the cursor has its rows once that is left."""
    return await conn.execute(_compose(function, tuple(arguments)), arguments)


async def call_value(conn: Connection, function: str, /, **arguments: object) -> Any:
    """Call a function; return the first column of its first row, or None without a row."""
    row = await (await call(conn, function, **arguments)).fetchone()
    return row[0] if row else None


async def call_values(conn: Connection, function: str, /, **arguments: object) -> list[Any]:
    """Call a function; return the first column of all rows."""
    return [row[0] for row in await (await call(conn, function, **arguments)).fetchall()]


async def call_row(
    conn: Connection, function: str, row_factory: AsyncRowFactory[_Row], /, **arguments: object
) -> _Row | None:
    """Call a function; return its first row, or None."""
    async with conn.cursor(row_factory=row_factory) as cursor:
        await cursor.execute(_compose(function, tuple(arguments)), arguments)
        return await cursor.fetchone()


async def call_rows(
    conn: Connection, function: str, row_factory: AsyncRowFactory[_Row], /, **arguments: object
) -> list[_Row]:
    """Call a function; return all rows."""
    async with await send(conn, function, row_factory, **arguments) as cursor:
        return await cursor.fetchall()


async def send(
    conn: Connection, function: str, row_factory: AsyncRowFactory[_Row], /, **arguments: object
) -> AsyncCursor[_Row]:
    """Call a function; inside a pipeline the cursor has its rows once that is left."""
    cursor = conn.cursor(row_factory=row_factory)
    return await cursor.execute(_compose(function, tuple(arguments)), arguments)


@cache
def _compose(function: str, names: tuple[str, ...]) -> bytes:
    path = function.split(".") if "." in function else ["public", function]
    arguments = [
        sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Placeholder(name))
        for name in names
    ]
    statement = sql.SQL("select * from {}({})").format(
        sql.Identifier(*path), sql.SQL(", ").join(arguments)
    )
    return statement.as_bytes(None)
