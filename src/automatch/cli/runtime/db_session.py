"""What an operator's command works with: a database that is up, and a name for the audit log."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from automatch.cli.runtime.logging_setup import configure_logs
from automatch.cli.runtime.running_database import running_database
from automatch.errors.store import MigrationError
from automatch.postgres.addresses import Role, database_address
from automatch.settings import Settings, load_settings
from automatch.settings.secrets import load_or_create
from automatch.store.database import Connection, Database
from automatch.store.migrate import pending

_T = TypeVar("_T")


def operate(home: Path | None, act: Callable[[Connection], Awaitable[_T]], *, name: str) -> _T:
    """Do one thing to the database with the rights of the server; the whole of most commands.

    Raises: see `operated_database`.
    """
    settings = load_settings(home=home)
    configure_logs(settings)

    async def connected() -> _T:
        async with operated_database(settings, "api", name=name) as db, db.connection() as conn:
            return await act(conn)

    return asyncio.run(connected())


@asynccontextmanager
async def operated_database(
    settings: Settings, role: Role, *, name: str
) -> AsyncIterator[Database]:
    """Give the database as the login of the server or of the workers.

    Raises:
        MigrationError: it is not of this version; a command that only looks migrates nothing.
    """
    secrets = load_or_create(settings.home)
    async with running_database(settings, secrets):
        # Without its logins and functions a command would fail in a way that says nothing.
        if await pending(database_address(settings, secrets, "owner")):
            raise MigrationError("The database is not of this version; run `automatch migrate`.")
        async with Database(
            database_address(settings, secrets, role), settings.pool, name=name
        ) as db:
            yield db


def actor() -> str:
    """Return who the audit log is told is at the keyboard."""
    uid = os.getuid()
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"cli:{uid}"
