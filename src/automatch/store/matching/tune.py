"""How groups are searched: their indexes, their order on disk, and the settings of both.

For the owner's login, on a connection that commits every statement. An index is built while uploads
and searches go on (`create index concurrently`); only the owner may, so no worker does it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pgvector.psycopg import register_vector_async
from psycopg.errors import LockNotAvailable
from psycopg.rows import class_row

from automatch.sql.statements import load
from automatch.store import database
from automatch.store.database import Connection
from automatch.store.matching.model_changes import read_active_model

_SQL = load("tune")

_PROGRESS_S = 0.5
"""Between two reads of the progress of an index build."""
_LOCK_ATTEMPTS = 10
"""How often the lock of a partition is tried while others use it."""
_LOCK_RETRY_S = 0.3
_MAX_CLUSTER_BYTES = 200 * 1024**2
"""A partition of this size is locked for about a second while it is clustered (170 MB/s)."""
_MIN_SCATTERED = 0.02
"""A partition with a smaller share of scattered rows is not clustered."""

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
    """A school and gender, and how it is searched."""

    school: str
    gender: str
    faces: int
    index_name: str | None
    index_ready: bool
    index_bytes: int | None
    audits: int
    recall: float | None
    """Of the stored audits; None when nobody was to be found."""


@dataclass(frozen=True, slots=True)
class GroupIndex:
    """The index of a group, complete or not."""

    school: str
    gender: str
    index_name: str
    ready: bool
    m: int
    ef_construction: int
    faces: int


@asynccontextmanager
async def owner_connection(conninfo: str) -> AsyncIterator[Connection]:
    """Connect as the owner, with vectors and short waits; each statement is its own transaction."""
    async with database.owner_connection(conninfo) as conn:
        await register_vector_async(conn)
        await conn.execute(_SQL["be_brief"])
        yield conn


async def read_search_settings(conn: Connection) -> SearchSettings:
    """Return the current settings."""
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
    """Return the groups that have an index, complete or not."""
    cursor = conn.cursor(row_factory=class_row(GroupIndex))
    return await (await cursor.execute(_SQL["indexes"])).fetchall()


async def time_searches(conn: Connection, school: str, gender: str, count: int) -> list[float]:
    """Return the seconds that searches of a group take, for people who would search it."""
    group = {"school": school, "gender": gender}
    model = await read_active_model(conn)
    cursor = await conn.execute(_SQL["samples"], {**group, "model": model, "count": count})
    times = []
    for (embedding,) in await cursor.fetchall():
        began = time.perf_counter()
        await conn.execute(_SQL["search"], {**group, "embedding": embedding})
        times.append(time.perf_counter() - began)
    return times


async def build_index(
    conn: Connection, progress_conn: Connection, school: str, gender: str, on_progress: Progress
) -> None:
    """Build the index of a group and use it from then on."""
    index_name, statement = await _row(conn, "plan_index", {"school": school, "gender": gender})
    try:
        await conn.execute(_SQL["be_patient"])
        await conn.execute(_SQL["build_in_memory"])
        building = asyncio.create_task(_execute(conn, statement))
        try:
            while not building.done():
                await asyncio.wait({building}, timeout=_PROGRESS_S)
                row = await (
                    await progress_conn.execute(_SQL["progress"], {"pid": conn.info.backend_pid})
                ).fetchone()
                if row is not None:
                    on_progress(*row)
        finally:
            await building
        await conn.execute(_SQL["use_index"], {"index_name": index_name})
    except BaseException:
        await drop_index(progress_conn, index_name)
        raise


async def drop_index(conn: Connection, index_name: str) -> None:
    """Search the group exactly from now on, and drop its index."""
    name = {"index_name": index_name}
    await conn.execute(_SQL["stop_using_index"], name)
    await conn.execute(_SQL["be_patient"])
    (statement,) = await _row(conn, "drop_index", name)
    await _execute(conn, statement)
    await conn.execute(_SQL["forget_index"], name)


async def cluster_partitions(
    conn: Connection, *, include_large: bool
) -> AsyncIterator[tuple[str, str]]:
    """Cluster the rows of each group, partition by partition; yield the outcome of each.

    A partition is locked meanwhile. So large ones are left out, and the lock is tried only briefly
    at a time, because all others queue behind whoever waits for it.
    """
    await conn.execute(_SQL["be_brief"])
    cursor = await conn.execute(_SQL["partitions"])
    for partition, size in await cursor.fetchall():
        name = {"partition": partition}
        (scattered,) = await _row(conn, "scattered", name)
        if scattered < _MIN_SCATTERED:
            yield partition, "is in order"
        elif size > _MAX_CLUSTER_BYTES and not include_large:
            yield partition, f"is left: {size / 2**20:.0f} MiB would be locked for a while"
        else:
            (statement,) = await _row(conn, "cluster", name)
            yield partition, await _cluster(conn, statement)


async def _cluster(conn: Connection, statement: str) -> str:
    for _ in range(_LOCK_ATTEMPTS):
        began = time.perf_counter()
        try:
            await _execute(conn, statement)
        except LockNotAvailable:
            await asyncio.sleep(_LOCK_RETRY_S)
        else:
            return f"was put in order in {time.perf_counter() - began:.2f} s"
    return "is left: it is in use all the time"


async def _row(conn: Connection, name: str, parameters: dict[str, Any]) -> tuple[Any, ...]:
    row = await (await conn.execute(_SQL[name], parameters)).fetchone()
    assert row is not None
    return row


async def _execute(conn: Connection, statement: str) -> None:
    # Made by format() from one of our statements, which quotes names and values.
    await conn.execute(statement)
