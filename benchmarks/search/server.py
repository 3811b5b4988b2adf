"""A Postgres of the benchmark's own, with the schema and nothing else in it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from automatch.postgres.addresses import database_address, login_passwords
from automatch.postgres.embedded import EmbeddedPostgres
from automatch.settings import Settings
from automatch.settings.database import PostgresSettings
from automatch.settings.secrets import load_or_create
from automatch.store.installation.migrate import migrate
from tests.support.postgres import open_every_school, remove_home


@asynccontextmanager
async def own_postgres(shared_buffers_mb: int) -> AsyncIterator[str]:
    """Give the owner's address of a new server; it is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            home=Path(folder) / "data",
            database_url=None,
            postgres=PostgresSettings(shared_buffers_mb=shared_buffers_mb),
        )
        settings.home.mkdir()
        secrets = load_or_create(settings.home)
        try:
            async with EmbeddedPostgres(settings, secrets):
                dsn = database_address(settings, secrets, "owner")
                await migrate(
                    dsn,
                    login_passwords(secrets),
                )
                with psycopg.connect(dsn, autocommit=True) as conn:
                    open_every_school(conn)
                yield dsn
        finally:
            remove_home(settings.home)
