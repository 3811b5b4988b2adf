"""Removes erased rows from the files of a database.

Deleting a row hides it; its bytes stay in its page, after a `vacuum` too, and in the write-ahead
log. So the tables with personal values are rewritten after an erasure, and the log is switched and
its old segments are deleted (the embedded server recycles none). Large tables are rewritten once a
day. docs/privacy.md has the promise.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg import sql
from psycopg.rows import class_row

from automatch.postgres import erased_shards
from automatch.sql.statements import load

if TYPE_CHECKING:
    from typing import Any

    Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_SQL = load("erased_data")
_EVERY_S = 30.0
_LARGE_BYTES = 256 * 1024**2
_LARGE_EVERY_S = 86400.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    is_large: bool
    is_distributed: bool
    """Whether its rows lie in shards on the machines of a cluster."""


@dataclass(frozen=True, slots=True)
class _Rewrite:
    until: int
    """The newest erasure before it."""
    at: float
    """Of the monotonic clock."""


class ErasedData:
    """Removes what was erased since the last time.

    Args:
        owner_dsn: the login of the owner; only a superuser may switch the write-ahead log too.
        large_bytes: tables of more than this are rewritten once a day.
    """

    def __init__(self, owner_dsn: str, *, large_bytes: int = _LARGE_BYTES) -> None:
        self._dsn = owner_dsn
        self._large_bytes = large_bytes
        self._rewrites: dict[str, _Rewrite] = {}
        self._vacuumed_until = -1

    async def run(self) -> None:
        """Look for erasures every half minute, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            began, before = time.monotonic(), self._vacuumed_until
            try:
                is_complete = await self.remove()
            except psycopg.Error as exc:
                log.warning("erased data not removed from files yet", error=type(exc).__name__)
                continue
            if self._vacuumed_until != before:
                log.info(
                    "erased data removed from files",
                    complete=is_complete,
                    seconds=round(time.monotonic() - began, 2),
                )

    async def remove(self) -> bool:
        """Remove what nobody can see any more; return whether nothing is left to do later.

        Raises:
            psycopg.Error: the server does not answer, or the login may not do this.
        """
        async with await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=5, application_name="automatch erased data"
        ) as conn:
            until = await _settled(conn)
            if until is None:
                return await _is_empty(conn)
            due, is_complete = await self._due(conn, until)
            if not due and until == self._vacuumed_until:
                return is_complete
            is_seen = any(table.is_distributed for table in due) and not (
                await erased_shards.are_unseen(conn)
            )
            for table in due:
                if table.is_distributed and is_seen:
                    is_complete = False
                else:
                    is_complete &= await self._rewrite(conn, table, until)
            tables = await _tables(conn, "all_tables")
            for table in tables:
                if not table.is_distributed:
                    await _run(conn, "vacuum", table.name)
            await _switch_wal(conn)
            sharded = [table.name for table in tables if table.is_distributed]
            if sharded and not await erased_shards.finish(conn, sharded):
                return False
            self._vacuumed_until = until
            if is_complete:
                await conn.execute(_SQL["forget"], {"until": until})
        return is_complete

    async def _due(self, conn: Connection, until: int) -> tuple[list[_Table], bool]:
        tables = [
            await self._measured(conn, table)
            for table in await _tables(conn, "tables", large_bytes=self._large_bytes)
        ]
        never = _Rewrite(-1, -math.inf)
        missing = [t for t in tables if self._rewrites.get(t.name, never).until < until]
        latest = time.monotonic() - _LARGE_EVERY_S
        due = [
            t for t in missing if not t.is_large or self._rewrites.get(t.name, never).at < latest
        ]
        return due, len(due) == len(missing)

    async def _measured(self, conn: Connection, table: _Table) -> _Table:
        if table.is_large or not table.is_distributed:
            return table
        size = await erased_shards.largest_shard(conn, table.name)
        return replace(table, is_large=size > self._large_bytes)

    async def _rewrite(self, conn: Connection, table: _Table, until: int) -> bool:
        began = time.monotonic()
        try:
            await conn.execute(_SQL["bound_wait"])
            if not table.is_distributed:
                await _run(conn, "rewrite", table.name)
            elif not await erased_shards.rewrite(conn, table.name):
                log.info("shards are in use; rewriting them later", table=table.name)
                return False
        except psycopg.errors.LockNotAvailable:
            log.info("table is in use; rewriting it later", table=table.name)
            return False
        self._rewrites[table.name] = _Rewrite(until, began)
        return True


async def _tables(conn: Connection, statement: str, **parameters: Any) -> list[_Table]:
    async with conn.cursor(row_factory=class_row(_Table)) as cursor:
        await cursor.execute(_SQL[statement], parameters)
        return await cursor.fetchall()


async def _switch_wal(conn: Connection) -> None:
    try:
        await conn.execute(_SQL["switch_wal"])
        await conn.execute(_SQL["checkpoint"])
    except psycopg.errors.InsufficientPrivilege:
        log.warning(
            "erased data stays in the write-ahead log until the server deletes its segments"
        )


async def _settled(conn: Connection) -> int | None:
    row = await (await conn.execute(_SQL["settled"])).fetchone()
    return None if row is None else row[0]


async def _is_empty(conn: Connection) -> bool:
    row = await (await conn.execute(_SQL["is_empty"])).fetchone()
    return row is not None and bool(row[0])


async def _run(conn: Connection, statement: str, table: str) -> None:
    name = sql.Identifier(*table.split("."))
    await conn.execute(sql.SQL(_SQL[statement]).format(table=name))
