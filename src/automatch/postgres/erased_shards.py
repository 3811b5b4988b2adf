"""Removes erased rows from the files of the machines that a Citus cluster spreads tables over.

The coordinator has each machine do so. A transaction that is open there, a shard in use or a
machine that is away makes it incomplete: it is done again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from automatch.sql.statements import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import psycopg

    Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_SQL = {**load("citus"), **load("erased_shards")}


async def largest_shard(conn: Connection, table: str) -> int:
    """Return the bytes of the largest shard that can be asked."""
    return max([size for *_, size in await _files(conn, table)], default=0)


async def are_unseen(conn: Connection) -> bool:
    """Return whether no transaction of a machine sees any more what was deleted before."""
    return await _all_succeed(conn, "await_snapshots")


async def rewrite(conn: Connection, table: str) -> bool:
    """Rewrite all shards; return whether none has the file of before."""
    before = {tuple(place) for *place, _ in await _files(conn, table)}
    is_done = await _all_succeed(conn, "rewrite", table)
    return is_done and before.isdisjoint(tuple(place) for *place, _ in await _files(conn, table))


async def finish(conn: Connection, tables: Sequence[str]) -> bool:
    """Remove the rest: dead rows, samples for the planner, the log, shards that went elsewhere."""
    is_done = await _all_succeed(conn, "keep_out_of_samples")
    for table in tables:
        is_done &= await _all_succeed(conn, "vacuum", table)
        is_done &= await _all_succeed(conn, "forget_samples", table)
    for statement in ("rewrite_samples", "switch_wal", "checkpoint", "are_moved"):
        is_done &= await _all_succeed(conn, statement)
    return is_done


async def _files(conn: Connection, table: str) -> list[tuple[Any, ...]]:
    return await (await conn.execute(_SQL["files"], {"table": _quoted(table)})).fetchall()


async def _all_succeed(conn: Connection, statement: str, table: str | None = None) -> bool:
    parameters = {"table": table and _quoted(table)}
    row = await (await conn.execute(_SQL[statement], parameters)).fetchone()
    return row is not None and bool(row[0])


def _quoted(table: str) -> str:
    return sql.Identifier(*table.split(".")).as_string()
