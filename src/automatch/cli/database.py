"""`automatch migrate` and `automatch db`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from automatch.cli.logs import configure_logs
from automatch.cli.run import Home
from automatch.cli.running import migrate_database, running_database
from automatch.settings import Settings, load_settings
from automatch.store.addresses import Role, database_address
from automatch.store.migrate import pending
from automatch.store.secrets import load_or_create

app = typer.Typer(help="The database itself.", no_args_is_help=True)


def migrate(
    home: Home = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only list what is missing; exit 1 if anything is.")
    ] = False,
) -> None:
    """Bring the database up to this version. Any number may run at once."""
    settings = load_settings(home=home)
    configure_logs(settings)
    versions = asyncio.run(_migrate(settings, check=check))
    if check:
        for version in versions:
            typer.echo(version)
        raise typer.Exit(1 if versions else 0)
    typer.echo(
        f"{len(versions)} migrations applied." if versions else "The database is up to date."
    )


@app.command()
def url(
    home: Home = None,
    role: Annotated[
        Role, typer.Option(help="Whose login: owner for an SQL editor, api or worker.")
    ] = "owner",
) -> None:
    """Print a connection string, password included: `psql "$(automatch db url)"`."""
    settings = load_settings(home=home)
    typer.echo(database_address(settings, load_or_create(settings.home), role))


async def _migrate(settings: Settings, *, check: bool) -> list[str]:
    secrets = load_or_create(settings.home)
    async with running_database(settings, secrets):
        if check:
            return await pending(database_address(settings, secrets, "owner"))
        return await migrate_database(settings, secrets)
