"""What the checks use: an installation that may be stopped or broken, opened read-only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from automatch.errors import AutomatchError
from automatch.errors.configuration import SecretsError
from automatch.errors.store import DatabaseNewerError, ServerUnfitError
from automatch.postgres.addresses import database_address, given_address
from automatch.settings import Settings
from automatch.settings.secrets import Secrets, secrets_of
from automatch.settings.server_address import find_server_url
from automatch.sql.statements import load
from automatch.store.call import call
from automatch.store.database import Connection
from automatch.store.installation.migrate import pending
from automatch.store.installation.server_check import check_sessions
from automatch.store.queue.stats import make_read_only

_SQL = load("doctor")
_CONNECT_S = 5
_HTTP_TIMEOUT_S = 5

T = TypeVar("T")


@dataclass(frozen=True)
class CheckContext:
    """The installation that is checked."""

    settings: Settings
    actor: str
    """Who repairs, for the audit log."""
    url: str
    """The address of the web server, without a slash at the end."""
    url_was_given: bool
    secrets: Secrets | None
    secrets_problem: str | None
    http: httpx2.AsyncClient
    owner: str | None
    """The connection string of the owner; None when the secrets for it are missing."""
    conn: Connection | None
    """The owner's read-only connection; each statement is a transaction of its own."""
    database_problem: str | None
    missing: list[str]
    """Pending migrations."""
    schema_problem: str | None
    unfit: str | None = None
    """Why no session of the server can be used."""

    @property
    def is_embedded(self) -> bool:
        return self.settings.database_url is None

    @property
    def database(self) -> Connection:
        """The connection, for checks that require one."""
        assert self.conn is not None, "the check must declare that it requires the database"
        return self.conn

    async def all(self, kind: type[T], statement: Any, **parameters: object) -> list[T]:
        """Return the rows of a statement as values of *kind*."""
        async with self.database.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(statement, parameters)
            return await cursor.fetchall()

    async def one(self, kind: type[T], statement: Any, **parameters: object) -> T:
        """Return the one row of a statement as a value of *kind*."""
        (row,) = await self.all(kind, statement, **parameters)
        return row

    async def column(self, statement: Any, **parameters: object) -> list[Any]:
        """Return the first column of a statement."""
        cursor = await self.database.execute(statement, parameters)
        return [row[0] for row in await cursor.fetchall()]

    @asynccontextmanager
    async def repairing(self, check: str, **details: object) -> AsyncIterator[Connection]:
        """Open a writable transaction of the owner; the repair is recorded in the audit log."""
        assert self.owner is not None
        async with await psycopg.AsyncConnection.connect(
            self.owner, connect_timeout=_CONNECT_S, application_name="automatch-doctor"
        ) as conn:
            yield conn
            await call(
                conn,
                "automatch.audit",
                actor=self.actor,
                action="doctor",
                details=Jsonb({"check": check, **details}),
            )


@asynccontextmanager
async def open_context(
    settings: Settings, *, actor: str, url: str | None = None
) -> AsyncIterator[CheckContext]:
    """Open the parts of an installation; a missing part is recorded and is no error."""
    secrets, secrets_problem = _read_secrets(settings)
    owner = _owner_address(settings, secrets)
    async with AsyncExitStack() as stack:
        conn: Connection | None = None
        problem = secrets_problem
        unfit = None
        if owner is not None:
            try:
                # Before a session is made read-only, which may be another's the next moment.
                await check_sessions(owner)
                conn = await stack.enter_async_context(_read_only_connection(owner))
                problem = None
            except ServerUnfitError as exc:
                problem = unfit = exc.message
            except (AutomatchError, psycopg.Error) as exc:
                problem = _first_line(exc)
        missing: list[str] = []
        schema_problem = None
        if conn is not None and owner is not None:
            try:
                missing = await pending(owner)
            except DatabaseNewerError as exc:
                schema_problem = exc.message
        http = await stack.enter_async_context(
            httpx2.AsyncClient(timeout=_HTTP_TIMEOUT_S, follow_redirects=False)
        )
        yield CheckContext(
            settings=settings,
            actor=actor,
            url=find_server_url(settings, url),
            url_was_given=bool(url or settings.public_url),
            secrets=secrets,
            secrets_problem=secrets_problem,
            http=http,
            owner=owner,
            conn=conn,
            database_problem=problem,
            missing=missing,
            schema_problem=schema_problem,
            unfit=unfit,
        )


def _read_secrets(settings: Settings) -> tuple[Secrets | None, str | None]:
    try:
        return secrets_of(settings), None
    except SecretsError as exc:
        return None, exc.message


def _owner_address(settings: Settings, secrets: Secrets | None) -> str | None:
    if settings.database_url is not None:
        return given_address(settings)
    return database_address(settings, secrets, "owner") if secrets is not None else None


@asynccontextmanager
async def _read_only_connection(owner: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(
        owner, autocommit=True, connect_timeout=_CONNECT_S, application_name="automatch-doctor"
    ) as conn:
        await make_read_only(conn)
        yield conn


def _first_line(exc: Exception) -> str:
    # libpq names host, port and login, never the password.
    return str(exc).strip().partition("\n")[0]
