"""A database session for a command, and the name under which the audit log knows the operator."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.configuration import InstallationMissingError, InstanceRunningError
from automatch.errors.store import MigrationError

if TYPE_CHECKING:
    from automatch.model.operators import Operator
    from automatch.postgres.addresses import Role
    from automatch.services.operators.link_delivery import LinkDelivery
    from automatch.services.protection.erasures import Erasures
    from automatch.settings import Settings
    from automatch.settings.secrets import Secrets
    from automatch.store.database import Connection, Database

_T = TypeVar("_T")


def run_in_db_session(
    home: Path | None, act: Callable[[Connection], Awaitable[_T]], *, name: str
) -> _T:
    """Run *act* on one connection with the rights of the server; all that most commands do.

    Raises: see `db_session`.
    """
    settings = load_settings_and_logging(home=home)

    async def connected() -> _T:
        async with db_session(settings, "api", name=name) as db, db.connection() as conn:
            return await act(conn)

    return asyncio.run(connected())


@dataclass(frozen=True)
class OperatorSession:
    """What services need of whoever has the machine, who may do what an owner may."""

    db: Database
    operator: Operator
    settings: Settings

    @property
    def links(self) -> LinkDelivery:
        """How links reach people."""
        from automatch.services.operators.link_delivery import LinkDelivery

        return LinkDelivery.from_settings(self.settings)

    @property
    def erasing(self) -> Erasures:
        """What erases people."""
        from automatch.photos.make import make_photos
        from automatch.services.protection.erasures import make_erasures

        return make_erasures(self.settings, self.db, make_photos(self.settings))


def run_as_operator(
    home: Path | None, act: Callable[[OperatorSession], Awaitable[_T]], *, name: str
) -> _T:
    """Run *act* as the one who has the machine.

    Raises: see `db_session`.
    """
    from automatch.model.operators import Operator

    settings = load_settings_and_logging(home=home)

    async def connected() -> _T:
        async with db_session(settings, "api", name=name) as db:
            return await act(OperatorSession(db, Operator.of_machine(audit_actor()), settings))

    return asyncio.run(connected())


@asynccontextmanager
async def db_session(settings: Settings, role: Role, *, name: str) -> AsyncIterator[Database]:
    """Open the database with the login of *role*, starting the embedded Postgres if necessary.

    Raises:
        InstallationMissingError: the data folder is of no installation.
        MigrationError: its schema is of another version; most commands do not migrate.
        DatabaseUnavailableError: the server does not answer, or refuses the login.
    """
    from automatch.postgres.addresses import database_address
    from automatch.settings.secrets import secrets_of
    from automatch.store.database import Database
    from automatch.store.installation.migrate import pending
    from automatch.store.installation.server_check import check_server

    secrets = secrets_of(settings)
    async with ensure_postgres(settings, secrets):
        # On an older schema a command would fail with an error that does not name the cause.
        if await pending(database_address(settings, secrets, "owner")):
            raise MigrationError("The database schema is not up to date; run `automatch migrate`.")
        address = database_address(settings, secrets, role)
        if settings.database_url is not None:
            # The pool would try a refused login for half a minute, and not say why.
            await check_server(address)
        async with Database(address, settings.pool, name=name) as db:
            yield db


@asynccontextmanager
async def ensure_postgres(settings: Settings, secrets: Secrets) -> AsyncIterator[None]:
    """Run the embedded Postgres during the block, unless it runs already or another is used.

    Raises:
        InstallationMissingError: there is no database in the data folder; only `up` makes one.
    """
    from automatch.postgres.lockfile import is_running

    async with contextlib.AsyncExitStack() as stack:
        if settings.database_url is None:
            if not _has_cluster(settings.home):
                raise InstallationMissingError(
                    f"There is no database in {settings.home}: set AUTOMATCH_DATABASE_URL if yours "
                    "is elsewhere, or let `automatch up` make one here."
                )
            if not is_running(settings.home):
                from automatch.postgres.embedded import EmbeddedPostgres

                with contextlib.suppress(InstanceRunningError):
                    await stack.enter_async_context(EmbeddedPostgres(settings, secrets))
        yield


def _has_cluster(home: Path) -> bool:
    files = home / "postgres"
    # A link that points nowhere is reported by the start.
    return os.path.lexists(files / "data") or files.is_symlink()


def audit_actor() -> str:
    """Return the operator's name for the audit log: `cli:` and the user of the operating system."""
    import pwd

    uid = os.getuid()
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"cli:{uid}"
