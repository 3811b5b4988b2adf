"""An installation as it is found: running or stopped, whole or not. Looking changes nothing."""

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
from automatch.errors.store import DatabaseNewerError
from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.secrets import Secrets, read
from automatch.sql.statements import load
from automatch.store.database import Connection
from automatch.store.migrate import pending
from automatch.store.stats import be_careful

_SQL = load("doctor")
_CONNECT_S = 5
_ANSWER_S = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Installation:
    """What the checks look at."""

    settings: Settings
    actor: str
    """Who the audit log is told repairs."""
    url: str
    """Where the web server should answer, without a slash at the end."""
    url_was_given: bool
    secrets: Secrets | None
    secrets_problem: str | None
    http: httpx2.AsyncClient
    owner: str | None
    """The owner's address; None without the secrets that it takes."""
    conn: Connection | None
    """Of the owner, read-only; each statement is a transaction of its own."""
    database_problem: str | None
    missing: list[str]
    """Migrations that the database lacks."""
    schema_problem: str | None

    @property
    def is_embedded(self) -> bool:
        return self.settings.database_url is None

    @property
    def database(self) -> Connection:
        """The connection, for checks that need one."""
        assert self.conn is not None, "the check says that it needs the database"
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
        """Open a transaction of the owner that may write; what it did is in the audit log."""
        assert self.owner is not None
        async with await psycopg.AsyncConnection.connect(
            self.owner, connect_timeout=_CONNECT_S, application_name="automatch-doctor"
        ) as conn:
            yield conn
            await conn.execute(
                _SQL["audit"],
                {
                    "actor": self.actor,
                    "details": Jsonb({"check": check, **details}),
                },
            )


@asynccontextmanager
async def open_installation(
    settings: Settings, *, actor: str, url: str | None = None
) -> AsyncIterator[Installation]:
    """Look for the parts of an installation; what is not there is noted, and no error."""
    secrets, secrets_problem = _read_secrets(settings)
    owner = _owner_address(settings, secrets)
    async with AsyncExitStack() as stack:
        conn: Connection | None = None
        problem = secrets_problem
        if owner is not None:
            try:
                conn = await stack.enter_async_context(_looking(owner))
                problem = None
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
            httpx2.AsyncClient(timeout=_ANSWER_S, follow_redirects=False)
        )
        yield Installation(
            settings=settings,
            actor=actor,
            url=(url or settings.server_url()).rstrip("/"),
            url_was_given=bool(url or settings.public_url),
            secrets=secrets,
            secrets_problem=secrets_problem,
            http=http,
            owner=owner,
            conn=conn,
            database_problem=problem,
            missing=missing,
            schema_problem=schema_problem,
        )


def _read_secrets(settings: Settings) -> tuple[Secrets | None, str | None]:
    try:
        return read(settings.home), None
    except SecretsError as exc:
        return None, exc.message


def _owner_address(settings: Settings, secrets: Secrets | None) -> str | None:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return database_address(settings, secrets, "owner") if secrets is not None else None


@asynccontextmanager
async def _looking(owner: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(
        owner, autocommit=True, connect_timeout=_CONNECT_S, application_name="automatch-doctor"
    ) as conn:
        await be_careful(conn)
        yield conn


def _first_line(exc: Exception) -> str:
    # libpq tells host, port and login, never the password.
    return str(exc).strip().partition("\n")[0]
