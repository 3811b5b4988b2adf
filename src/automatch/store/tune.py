"""How groups are searched: their indexes, their order on disk, and the settings of both.

For the login of the owner, on a connection that commits every statement. An index is built beside
uploads and searches (`create index concurrently`); only owners may, which is why no worker does it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from pgvector.psycopg import register_vector_async
from psycopg.errors import LockNotAvailable
from psycopg.rows import class_row

from automatch.sql.statements import load
from automatch.store.database import Connection, translate_errors

_SQL = load("tune")

_LOOK_S = 0.5
"""Between looks at how far an index is."""
_TRIES = 10
"""So often a partition is asked for while others use it."""
_BETWEEN_TRIES_S = 0.3
_LONG_BYTES = 200 * 1024**2
"""A partition of this size is locked for about a second while it is put in order (170 MB/s)."""
_IN_ORDER = 0.02
"""Below this share of scattered rows a partition stays as it is."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """The row of `automatch.search_settings`."""

    audit_one_in: int
    index_from: int
    index_until: int
    most_indexes: int
    m: int
    ef_construction: int
    ef_search: int


@dataclass(frozen=True, slots=True)
class SearchGroup:
    """A school and gender that is searched, and how."""

    school: str
    gender: str
    faces: int
    index_name: str | None
    index_ready: bool
    index_bytes: int | None
    audits: int
    recall: float | None
    """Of the audits that are kept; None when they expected nobody."""


@dataclass(frozen=True, slots=True)
class GroupIndex:
    """An index of a group, whole or not."""

    school: str
    gender: str
    index_name: str
    ready: bool
    m: int
    ef_construction: int
    faces: int


@asynccontextmanager
async def owner_connection(conninfo: str) -> AsyncIterator[Connection]:
    """Connect as the owner, each statement a transaction of its own."""
    with translate_errors():
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as conn:
            await register_vector_async(conn)
            await conn.execute(_SQL["be_brief"])
            yield conn


async def read_search_settings(conn: Connection) -> SearchSettings:
    """Return the settings in force."""
    cursor = conn.cursor(row_factory=class_row(SearchSettings))
    row = await (await cursor.execute(_SQL["settings"])).fetchone()
    assert row is not None
    return row


async def change_search_settings(conn: Connection, **changes: int | None) -> None:
    """Change settings; None leaves one as it is."""
    await conn.execute(_SQL["change"], changes)


async def list_groups(conn: Connection, limit: int) -> list[SearchGroup]:
    """Return the largest groups."""
    cursor = conn.cursor(row_factory=class_row(SearchGroup))
    return await (await cursor.execute(_SQL["groups"], {"limit": limit})).fetchall()


async def list_indexes(conn: Connection) -> list[GroupIndex]:
    """Return the groups that have an index, or what is left of one."""
    cursor = conn.cursor(row_factory=class_row(GroupIndex))
    return await (await cursor.execute(_SQL["indexes"])).fetchall()


async def time_searches(conn: Connection, school: str, gender: str, count: int) -> list[float]:
    """Return the seconds of searches of a group by people who would search it."""
    group = {"school": school, "gender": gender}
    cursor = await conn.execute(_SQL["samples"], {**group, "count": count})
    times = []
    for (embedding,) in await cursor.fetchall():
        began = time.perf_counter()
        await conn.execute(_SQL["search"], {**group, "embedding": embedding})
        times.append(time.perf_counter() - began)
    return times


async def build_index(
    conn: Connection, watcher: Connection, school: str, gender: str, on_progress: Progress
) -> None:
    """Build the index of a group and search through it from then on."""
    index_name, statement = await _row(conn, "plan_index", {"school": school, "gender": gender})
    try:
        await conn.execute(_SQL["be_patient"])
        await conn.execute(_SQL["build_in_memory"])
        building = asyncio.create_task(_execute(conn, statement))
        try:
            while not building.done():
                await asyncio.wait({building}, timeout=_LOOK_S)
                row = await (
                    await watcher.execute(_SQL["progress"], {"pid": conn.info.backend_pid})
                ).fetchone()
                if row is not None:
                    on_progress(*row)
        finally:
            await building
        await conn.execute(_SQL["use_index"], {"index_name": index_name})
    except BaseException:
        await drop_index(watcher, index_name)
        raise


async def drop_index(conn: Connection, index_name: str) -> None:
    """Search the group exactly from now on, and take its index away."""
    name = {"index_name": index_name}
    await conn.execute(_SQL["stop_using_index"], name)
    await conn.execute(_SQL["be_patient"])
    (statement,) = await _row(conn, "drop_index", name)
    await _execute(conn, statement)
    await conn.execute(_SQL["forget_index"], name)


async def put_in_order(conn: Connection, *, however_long: bool) -> AsyncIterator[tuple[str, str]]:
    """Put the rows of each group together, partition by partition; tell what became of each.

    Nobody reads or writes a partition meanwhile. So one that would be locked for long is left out,
    and the lock is asked for only for a moment at a time: everybody queues behind who asks.
    """
    await conn.execute(_SQL["be_brief"])
    cursor = await conn.execute(_SQL["partitions"])
    for partition, size in await cursor.fetchall():
        name = {"partition": partition}
        (scattered,) = await _row(conn, "scattered", name)
        if scattered < _IN_ORDER:
            yield partition, "is in order"
        elif size > _LONG_BYTES and not however_long:
            yield partition, f"is left: {size / 2**20:.0f} MiB would be locked for a while"
        else:
            (statement,) = await _row(conn, "cluster", name)
            yield partition, await _cluster(conn, statement)


async def _cluster(conn: Connection, statement: str) -> str:
    for _ in range(_TRIES):
        began = time.perf_counter()
        try:
            await _execute(conn, statement)
        except LockNotAvailable:
            await asyncio.sleep(_BETWEEN_TRIES_S)
        else:
            return f"was put in order in {time.perf_counter() - began:.2f} s"
    return "is left: it is in use all the time"


async def _row(conn: Connection, name: str, parameters: dict[str, Any]) -> tuple[Any, ...]:
    row = await (await conn.execute(_SQL[name], parameters)).fetchone()
    assert row is not None
    return row


async def _execute(conn: Connection, statement: str) -> None:
    # Made by format() from a statement of ours; names and values are quoted there.
    await conn.execute(statement)
