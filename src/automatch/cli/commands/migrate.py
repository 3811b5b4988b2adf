"""`automatch migrate`: the schema of the database."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from automatch.cli.options import Home
from automatch.cli.output.echo import echo
from automatch.cli.runtime.db_session import ensure_postgres, migrate_database
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.secrets import load_or_create
from automatch.store.migrate import pending


def migrate(
    home: Home = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only list pending migrations; exit 1 if there are any."),
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Set new passwords for logins of the server that another installation uses, and "
            "so lock it out.",
        ),
    ] = False,
) -> None:
    """Migrate the database to this version. Safe to run from several processes at once.

    Example: `automatch migrate --check`
    """
    settings = load_settings_and_logging(home=home)
    versions = asyncio.run(_migrate(settings, check=check, take_over=take_over))
    if check:
        for version in versions:
            echo(version)
        raise typer.Exit(1 if versions else 0)
    echo(f"Migrations applied: {len(versions)}." if versions else "The database is up to date.")


async def _migrate(settings: Settings, *, check: bool, take_over: bool) -> list[str]:
    secrets = load_or_create(settings.home)
    async with ensure_postgres(settings, secrets):
        if check:
            return await pending(database_address(settings, secrets, "owner"))
        return await migrate_database(settings, secrets, take_over=take_over)
