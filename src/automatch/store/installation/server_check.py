"""Whether a Postgres server is one that this version can work with.

The commands that migrate, serve and work ask before anything else; the doctor asks for each login.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import class_row

from automatch.errors.store import DatabaseUnavailableError, ServerUnfitError
from automatch.postgres.addresses import API_LOGIN, SCHEDULE_LOGIN, WORKER_LOGIN
from automatch.sql.statements import load

_SQL = load("server_check")
_OLDEST = 15
_OLDEST_VECTOR = (0, 8)
_CONNECT_TIMEOUT_S = 10

LOGIN_ADVICE = (
    "Copy secrets.json from the machine that migrated; or, if no other installation uses this "
    "server, `automatch migrate --take-over`"
)
"""What to do when one of our logins is refused."""


@dataclass(frozen=True, slots=True)
class _Server:
    version: int
    encoding: str
    folds_letters: bool
    vector_version: str | None
    vector_schema: str | None = None
    """Quoted; None where the extension is not installed yet."""
    without_vector: Sequence[str] = ()
    """Logins that may not use the type."""


async def check_server(conninfo: str, *, pooled: str | None = None) -> None:
    """Return when the server and its database are fit for this version.

    Args:
        conninfo: an address whose connections keep their sessions.
        pooled: another one of the same database, which need not lead to Postgres itself.

    Raises:
        ServerUnfitError: they are not; the message says why, and what to do.
        DatabaseUnavailableError: the server does not answer, or refuses the login.
    """
    try:
        async with await _connect(conninfo) as conn:
            async with conn.cursor(row_factory=class_row(_Server)) as cursor:
                server = await (await cursor.execute(_SQL["server"])).fetchone()
            problem = await _find_pooler(conninfo, conn)
            if problem is None and pooled not in (None, conninfo):
                problem = await _find_other_database(pooled, conn)
    except psycopg.OperationalError as exc:
        reason = str(exc).strip().partition("\n")[0]
        # Of a failed connection libpq gives no SQLSTATE.
        if "authentication failed" in str(exc) and _is_our_login(conninfo):
            raise DatabaseUnavailableError(
                f"The database refuses the password in secrets.json: {reason}. {LOGIN_ADVICE}."
            ) from exc
        raise DatabaseUnavailableError(f"The database does not answer: {reason}") from exc
    assert server is not None
    if problem := problem or _find_problem(server):
        raise ServerUnfitError(problem)


async def check_sessions(conninfo: str) -> None:
    """Return when each connection keeps its session; what else there is to say is not checked.

    Raises:
        ServerUnfitError: it does not, as behind a transaction pooler.
        psycopg.OperationalError: the server does not answer, or refuses the login.
    """
    async with await _connect(conninfo) as conn:
        if problem := await _find_pooler(conninfo, conn):
            raise ServerUnfitError(problem)


def _is_our_login(conninfo: str) -> bool:
    # Behind a pooler the name of a project may follow it.
    user = str(conninfo_to_dict(conninfo).get("user")).partition(".")[0]
    return user in {API_LOGIN, WORKER_LOGIN, SCHEDULE_LOGIN}


def is_vector_too_old(version: str) -> bool:
    """Return whether a version of pgvector, such as `0.8.1`, is older than what is needed."""
    return tuple(int(part) for part in re.findall(r"\d+", version)) < _OLDEST_VECTOR


def _find_problem(server: _Server) -> str | None:
    if server.version < _OLDEST:
        return f"The server is PostgreSQL {server.version}; {_OLDEST} or newer is needed."
    if server.encoding != "UTF8":
        return (
            f"The database has the encoding {server.encoding}; create one with "
            "`create database … encoding 'UTF8' template template0`."
        )
    if not server.folds_letters:
        return (
            "The locale of the database does not know letters beyond ASCII, so names and schools "
            "would not be found; create one with "
            "`create database … locale 'C.UTF-8' template template0`."
        )
    if server.vector_version is None:
        return "The server does not have pgvector; install version 0.8 or newer on it."
    if is_vector_too_old(server.vector_version):
        return (
            f"pgvector has version {server.vector_version}, and 0.8 is the oldest that works; "
            "install a newer one, then `alter extension vector update`."
        )
    if server.without_vector:
        logins = ", ".join(server.without_vector)
        return (
            f"pgvector is in the schema {server.vector_schema}, which is closed to {logins}; as "
            f"its owner: `grant usage on schema {server.vector_schema} to {logins}`."
        )
    return None


async def _find_pooler(conninfo: str, conn: AsyncConnection[Any]) -> str | None:
    """Tell whether each transaction may get another session, as behind a transaction pooler.

    Such a pooler gives the session of an idle connection to a transaction that begins meanwhile, so
    that the next statement on that connection runs in another.
    """
    before = await _read_backend(conn)
    async with await _connect(conninfo, autocommit=False) as other:
        await _read_backend(other)
        after = await _read_backend(conn)
    if before == after:
        return None
    return (
        "The address leads to a pooler that gives each transaction another session (pgbouncer's "
        "mode `transaction`, port 6543 of Supabase), and Auto-Match listens for notifications and "
        "holds locks in its sessions; set AUTOMATCH_DIRECT_URL to an address that leads to "
        "Postgres itself, or to a pooler in the mode `session` (port 5432 of Supabase)."
    )


async def _find_other_database(pooled: str, conn: AsyncConnection[Any]) -> str | None:
    """Tell whether *pooled* leads to another database than the session of the same login."""
    session = await (await conn.execute(_SQL["session"])).fetchone()
    assert session is not None
    pid, began_at = session
    async with await _connect(pooled) as other:
        row = await (
            await other.execute(_SQL["sees_session"], {"pid": pid, "began_at": began_at})
        ).fetchone()
    if row is not None and row[0]:
        return None
    return (
        "AUTOMATCH_DATABASE_URL leads to another database than AUTOMATCH_DIRECT_URL, so that "
        "nobody would be told what changes; set both to addresses of one server and database."
    )


async def _read_backend(conn: AsyncConnection[Any]) -> int:
    row = await (await conn.execute(_SQL["backend"])).fetchone()
    assert row is not None
    return int(row[0])


async def _connect(conninfo: str, *, autocommit: bool = True) -> AsyncConnection[Any]:
    return await AsyncConnection.connect(
        conninfo,
        autocommit=autocommit,
        connect_timeout=_CONNECT_TIMEOUT_S,
        # A pooler may give a session that knows nothing of what was prepared in another.
        prepare_threshold=None,
        client_encoding="UTF8",
        application_name="automatch-check",
    )
