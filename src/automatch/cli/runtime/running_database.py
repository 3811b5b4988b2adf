"""A database to work with: the one that runs, or the embedded one while a command lasts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from automatch.errors.configuration import InstanceRunningError
from automatch.postgres.addresses import database_address
from automatch.postgres.embedded import EmbeddedPostgres
from automatch.settings import Settings
from automatch.settings.secrets import Secrets
from automatch.store.migrate import migrate


@asynccontextmanager
async def running_database(settings: Settings, secrets: Secrets) -> AsyncIterator[None]:
    """Start the embedded Postgres unless it runs already or the database is elsewhere."""
    async with contextlib.AsyncExitStack() as stack:
        if settings.database_url is None:
            with contextlib.suppress(InstanceRunningError):
                await stack.enter_async_context(EmbeddedPostgres(settings, secrets))
        yield


async def migrate_database(settings: Settings, secrets: Secrets) -> list[str]:
    """Bring the database up to this version; the versions applied."""
    return await migrate(
        database_address(settings, secrets, "owner"),
        api_password=secrets.api_password,
        worker_password=secrets.worker_password,
    )
