"""Migrations: plain SQL files, each applied once, in one transaction, in the order of their names.

The ledger is the Supabase CLI's own table, so either tool may go first, and an operator's own
migrations stand in it beside ours. Ours are told apart by their file names,
`YYYYMMDDHHMMSS_automatch_<topic>.sql`: an unknown version in the ledger means a newer Auto-Match
only when its name starts with `automatch_` and it is later than every file we have.

On plain Postgres the stand-ins for what a Supabase project brings (`sql/compat`) follow. They
have no place in the ledger: they may be applied any number of times, and are, at every run. One
that says in its first line that it stands in for an extension gives way to that extension.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg import sql

from automatch.errors.store import DatabaseNewerError, DatabaseUnavailableError, MigrationError
from automatch.postgres.addresses import address_of_login
from automatch.sql.statements import SQL_FOLDER, load
from automatch.store.installation.server_check import check_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

_SQL = load("migrate")
MIGRATIONS = SQL_FOLDER / "migrations"
COMPAT = SQL_FOLDER / "compat"

log = structlog.get_logger(__name__)

_FILE_NAME = re.compile(r"([0-9]{14})_(.*)\.sql")
_OURS = "automatch_"
_LOCK_ATTEMPTS = 60
_LOCK_PAUSE_S = 1.0
"""For others, between two attempts of a second to lock what a file changes."""
_STANDS_IN = re.compile(r"-- Stands in for the extension: (\w+)\n")


@dataclass(frozen=True)
class _File:
    path: Path
    text: str


@dataclass(frozen=True)
class _Migration(_File):
    version: str
    name: str


async def migrate(
    owner_dsn: str,
    passwords: Mapping[str, str],
    *,
    take_over: bool = False,
    migrations: Path = MIGRATIONS,
    compat: Path = COMPAT,
) -> list[str]:
    """Bring a database up to this version and give our logins their *passwords*.

    The logins are the server's, not the database's, so another installation may be using them. A
    password that works is not set again, because a pooler may remember it, and one that another
    installation has set is only replaced with *take_over*.

    Any number may run at once; one works and the others wait for it. The connection must be a
    session of its own, not one through a transaction pooler.

    Returns:
        The versions applied, in order; empty when there was nothing to do.

    Raises:
        DatabaseUnavailableError: the server does not answer.
        ServerUnfitError: the server is not one that this version works with.
        DatabaseNewerError: a newer Auto-Match migrated this database.
        MigrationError: another installation uses the logins, and nothing was changed; or a file
            failed, and nothing of it was applied; those before it stay.
    """
    files, stand_ins = _read_migrations(migrations), _read(compat)
    await check_server(owner_dsn)
    async with _connect(owner_dsn) as connection:
        await _lock(connection)
        refused = [
            login
            for login, password in passwords.items()
            if not await _accepts(connection, owner_dsn, login, password, take_over=take_over)
        ]
        await connection.execute(_SQL["create_ledger_schema"])
        await connection.execute(_SQL["create_ledger"])
        waiting = _compare(files, await _read_ledger(connection))
        for file in waiting:
            await _run(connection, file)
        if not await _is_supabase(connection):
            installed = await _list_extensions(connection)
            for stand_in in stand_ins:
                real = _STANDS_IN.match(stand_in.text)
                if real is None or real[1] not in installed:
                    await _run(connection, stand_in)
        for login in refused:
            await set_login_password(connection, login, passwords[login])
    if waiting or refused:
        log.info(
            "database migrated",
            migrations=len(waiting),
            newest=waiting[-1].version if waiting else None,
            new_passwords=len(refused),
        )
    if waiting:
        # What could not be granted was only a warning, and would end server and workers.
        await check_server(owner_dsn)
    return [file.version for file in waiting]


async def pending(owner_dsn: str, *, migrations: Path = MIGRATIONS) -> list[str]:
    """Return the versions that `migrate` would apply; changes nothing.

    Raises:
        DatabaseUnavailableError: the server does not answer.
        DatabaseNewerError: a newer Auto-Match migrated this database.
    """
    files = _read_migrations(migrations)
    async with _connect(owner_dsn) as connection:
        row = await (await connection.execute(_SQL["ledger_exists"])).fetchone()
        ledger = await _read_ledger(connection) if row and row[0] else {}
    return [file.version for file in _compare(files, ledger)]


def newest_version(migrations: Path = MIGRATIONS) -> str:
    """Return the version of the newest migration of this Auto-Match."""
    return max(file.version for file in _read_migrations(migrations))


def _read(folder: Path) -> list[_File]:
    return [_File(path, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))]


def _read_migrations(folder: Path) -> list[_Migration]:
    found: dict[str, _Migration] = {}
    for file in _read(folder):
        match = _FILE_NAME.fullmatch(file.path.name)
        if match is None:
            raise MigrationError(f"{file.path.name} is not named YYYYMMDDHHMMSS_topic.sql.")
        version, name = match.groups()
        if version in found:
            raise MigrationError(
                f"{file.path.name} and {found[version].path.name} have one version."
            )
        found[version] = _Migration(file.path, file.text, version, name)
    return list(found.values())


def _compare(files: list[_Migration], ledger: dict[str, str | None]) -> list[_Migration]:
    newest = max((file.version for file in files), default="")
    newer = {
        version: name
        for version, name in ledger.items()
        if version > newest and (name or "").startswith(_OURS)
    }
    if newer:
        version = max(newer)
        raise DatabaseNewerError(
            f"The database has the migration {version}_{newer[version]}, which this Auto-Match "
            "does not know; install the version that applied it, or a later one."
        )
    return [file for file in files if file.version not in ledger]


@asynccontextmanager
async def _connect(dsn: str) -> AsyncIterator[psycopg.AsyncConnection]:
    try:
        connection = await psycopg.AsyncConnection.connect(
            dsn,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=10,
            client_encoding="utf8",
            application_name="automatch migrate",
        )
    except psycopg.OperationalError as exc:
        raise DatabaseUnavailableError(
            f"The database does not answer: {exc}; is AUTOMATCH_DATABASE_URL right?"
        ) from exc
    connection.add_notice_handler(_log_warning)
    async with connection:
        yield connection


def _log_warning(notice: psycopg.errors.Diagnostic) -> None:
    if notice.severity_nonlocalized == "WARNING":
        log.warning("the server warns", message=notice.message_primary)


async def _lock(connection: psycopg.AsyncConnection) -> None:
    await connection.execute(_SQL["bound_wait"])
    try:
        await connection.execute(_SQL["lock"])
    except psycopg.errors.LockNotAvailable as exc:
        raise MigrationError(
            "Another migration of this database has been running for two minutes; "
            "wait for it or end it, then try again."
        ) from exc


async def _accepts(
    connection: psycopg.AsyncConnection,
    owner_dsn: str,
    login: str,
    password: str,
    *,
    take_over: bool,
) -> bool:
    cursor = await connection.execute(_SQL["may_sign_in"], {"login": login})
    # Without the right to sign in, it was made by a migration, and nobody has given it a password.
    if await cursor.fetchone() != (True,):
        return False
    try:
        await check_login(owner_dsn, login, password)
    except MigrationError:
        if take_over:
            return False
        raise
    return True


async def check_login(owner_dsn: str, login: str, password: str) -> None:
    """Return when a login takes a password.

    Raises:
        MigrationError: it does not; the message says what to do.
    """
    try:
        async with _connect(address_of_login(owner_dsn, login, password)):
            pass
    except DatabaseUnavailableError as exc:
        raise MigrationError(
            f"The login {login} of this Postgres server does not take the password in this data "
            "folder's secrets.json, so another installation seems to use it. Use that "
            "installation's data folder or its secrets.json, or a server of its own; "
            "`automatch migrate --take-over` sets a new password, which locks the other "
            f"installation out. {exc.message}"
        ) from exc


async def _read_ledger(connection: psycopg.AsyncConnection) -> dict[str, str | None]:
    return dict(await (await connection.execute(_SQL["list_applied"])).fetchall())


async def are_logins_ours(owner_dsn: str, passwords: Mapping[str, str]) -> bool:
    """Return whether every login exists and takes its password."""
    try:
        for login, password in passwords.items():
            await check_login(owner_dsn, login, password)
    except MigrationError:
        return False
    return True


async def _run(connection: psycopg.AsyncConnection, file: _File) -> None:
    """Apply a file, in several attempts where others use what it changes.

    Whoever waits for a lock on a table makes all others wait who come later, readers too.
    """
    for _ in range(_LOCK_ATTEMPTS):
        try:
            await _apply(connection, file)
        except psycopg.errors.LockNotAvailable:
            log.warning("others use what is migrated; trying again", file=file.path.name)
            await asyncio.sleep(_LOCK_PAUSE_S)
        else:
            return
    raise MigrationError(
        f"{file.path.name}: others have used for minutes what it changes. See pg_stat_activity, "
        "end long transactions, then try again; nothing of it was applied."
    )


async def _apply(connection: psycopg.AsyncConnection, file: _File) -> None:
    try:
        # As the Supabase CLI does: no file depends on what another one set.
        await connection.execute(_SQL["reset"])
        async with connection.transaction():
            await connection.execute(_SQL["keep_functions_here"])
            await connection.execute(_SQL["bound_lock_wait"])
            if isinstance(file, _Migration):
                # First, so that a CLI that applies the same file at the same time collides early.
                await connection.execute(
                    _SQL["record"],
                    {"version": file.version, "name": file.name, "text": file.text},
                )
            # Without parameters the whole file travels as one simple query, `%` untouched.
            await connection.execute(file.text.encode())
    except psycopg.errors.LockNotAvailable:
        raise
    except psycopg.Error as exc:
        line = _line(file.text, exc.diag.statement_position)
        reason = exc.diag.message_primary or str(exc)
        raise MigrationError(f"{file.path.name}{line}: {reason}") from exc


def _line(text: str, position: str | None) -> str:
    if position is None:
        return ""
    number = text.count("\n", 0, int(position)) + 1
    return f", line {number}"


async def _is_supabase(connection: psycopg.AsyncConnection) -> bool:
    row = await (await connection.execute(_SQL["is_supabase"])).fetchone()
    return row is not None and bool(row[0])


async def _list_extensions(connection: psycopg.AsyncConnection) -> set[str]:
    return {
        name for (name,) in await (await connection.execute(_SQL["list_extensions"])).fetchall()
    }


async def set_login_password(
    connection: psycopg.AsyncConnection, login: str, password: str
) -> None:
    """Give a login a password.

    Raises:
        MigrationError: the server refuses.
    """
    # Hashed here: the server, its log and its statistics never see the clear text.
    digest = connection.pgconn.encrypt_password(
        password.encode(), login.encode(), b"scram-sha-256"
    ).decode()
    try:
        await connection.execute(
            sql.SQL(_SQL["set_password"]).format(
                login=sql.Identifier(login), password=sql.Literal(digest)
            )
        )
    except psycopg.Error as exc:
        raise MigrationError(
            f"The password of the login {login} could not be set: {exc.diag.message_primary}"
        ) from exc
