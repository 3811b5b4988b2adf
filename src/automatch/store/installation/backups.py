"""What a backup needs of the database: its state at one moment, and a note of the run."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg import Error, IsolationLevel, sql
from psycopg.rows import class_row

from automatch.errors.store import BackupError
from automatch.sql.statements import SQL_FOLDER, load
from automatch.store import database
from automatch.store.call import call, call_rows, call_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from automatch.store.database import Connection

_SQL = load("backup")
_MIGRATE = load("migrate")


@dataclass(frozen=True, slots=True)
class State:
    """The transaction of a backup, and what it sees."""

    snapshot: str
    taken_at: datetime
    postgres: int
    owner: str
    extensions: list[str]
    photo_store: UUID | None
    schema_version: str


@dataclass(frozen=True, slots=True)
class BackupRun:
    """A backup that was made or tried."""

    id: int
    started_at: datetime
    finished_at: datetime | None
    place: str
    scheduled: bool
    name: str | None
    encrypted: bool | None
    photos: int | None
    byte_count: int | None
    error: str | None


@asynccontextmanager
async def owner_connection(address: str) -> AsyncIterator[Connection]:
    """Connect as the owner for as long as a backup or a restore takes; each statement commits.

    Raises:
        DatabaseUnavailableError: the server does not answer, or not any more.
    """
    async with database.owner_connection(
        address, connect_timeout=10, prepare_threshold=None, application_name="automatch-backup"
    ) as conn:
        yield conn


@asynccontextmanager
async def lock_backups(conn: Connection) -> AsyncIterator[None]:
    """Be the only backup of this database, at most until the connection ends.

    Raises:
        BackupError: another is being made.
    """
    row = await (await conn.execute(_SQL["lock"])).fetchone()
    if row != (True,):
        raise BackupError("Another backup of this database is being made; wait for it.")
    try:
        yield
    finally:
        # A server notices later that a connection was closed, so the next backup might be refused.
        with suppress(Error):
            await conn.execute(_SQL["unlock"])


async def freeze_state(conn: Connection) -> State:
    """Begin the transaction whose snapshot pg_dump takes over; it lasts until it is rolled back."""
    await conn.set_autocommit(False)
    await conn.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    await conn.set_read_only(True)
    await conn.execute(_SQL["unbounded"])
    async with conn.cursor(row_factory=class_row(State)) as cursor:
        await cursor.execute(_SQL["state"])
        state = await cursor.fetchone()
    assert state is not None
    return state


async def count_rows(conn: Connection) -> dict[str, int]:
    """Return the number of rows of each table."""
    tables = await (await conn.execute(_SQL["tables"])).fetchall()
    counts = {}
    for schema, name in tables:
        statement = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, name))
        row = await (await conn.execute(statement)).fetchone()
        assert row is not None
        counts[f"{schema}.{name}"] = row[0]
    return counts


async def list_photos(conn: Connection) -> dict[str, bool]:
    """Return the path of every photo, and whether its files do not change any more."""
    return dict(await (await conn.execute(_SQL["photos"])).fetchall())


async def list_known_photos(conn: Connection, paths: list[str]) -> set[str]:
    """Return those of *paths* that nobody has erased."""
    rows = await (await conn.execute(_SQL["known_photos"], {"paths": paths})).fetchall()
    return {path for (path,) in rows}


async def is_due(conn: Connection, every_h: int, at_hour: int) -> bool:
    """Tell whether it is time for a scheduled backup; for workers."""
    due: bool = await call_value(
        conn, "is_backup_due", every=timedelta(hours=every_h), hour=at_hour
    )
    return due


async def start_run(conn: Connection, place: str, *, scheduled: bool) -> int:
    run: int = await call_value(
        conn, "automatch.start_backup_run", place=place, scheduled=scheduled
    )
    return run


async def finish_run(
    conn: Connection, run: int, *, name: str, encrypted: bool, photos: int, byte_count: int
) -> None:
    await call(
        conn,
        "automatch.finish_backup_run",
        id=run,
        name=name,
        encrypted=encrypted,
        photos=photos,
        bytes=byte_count,
    )


async def fail_run(conn: Connection, run: int, error: str) -> None:
    await call(conn, "automatch.finish_backup_run", id=run, error=error)


async def list_runs(conn: Connection, limit: int = 50) -> list[BackupRun]:
    """Return the latest runs, newest first."""
    return await call_rows(conn, "list_backup_runs", class_row(BackupRun), limit=limit)


async def is_migrated(conn: Connection) -> bool:
    """Tell whether the database has anything of Auto-Match."""
    return await (await conn.execute(_SQL["is_migrated"])).fetchone() == (True,)


async def make_roles(conn: Connection) -> None:
    """Make the roles that a dump grants rights to, as the first migration does."""
    await conn.execute((SQL_FOLDER / "schema" / "00_roles.sql").read_bytes())


async def settle_restored(conn: Connection) -> None:
    """Do in a restored database what its files and its planner need."""
    await conn.execute(_SQL["forget_erased_bytes"])
    await conn.execute(_SQL["analyze"])


async def settle_upgraded(conn: Connection) -> None:
    """Do in an upgraded database what pg_upgrade leaves to others."""
    await conn.execute(_SQL["update_vector"])
    await conn.execute(_SQL["analyze"])


async def is_supabase(conn: Connection) -> bool:
    """Tell whether the database is of a Supabase project."""
    return await (await conn.execute(_MIGRATE["is_supabase"])).fetchone() == (True,)
