"""`automatch migrate` and `automatch db`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from automatch.cli.commands.run import Home
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.cli.runtime.running_database import migrate_database, running_database
from automatch.postgres.addresses import Role, database_address
from automatch.settings import Settings, load_settings
from automatch.settings.secrets import load_or_create
from automatch.store.export import list_missing, write_migrations
from automatch.store.migrate import pending

_SUPABASE_FOLDER = Path("supabase", "migrations")

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
        f"Migrations applied: {len(versions)}." if versions else "The database is up to date."
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


@app.command()
def export(
    folder: Annotated[
        Path, typer.Argument(help="Where the Supabase CLI looks for them.")
    ] = _SUPABASE_FOLDER,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing: name what is missing; exit 1 if anything is."),
    ] = False,
) -> None:
    """Write the migrations beside your own, for `supabase db push`. No file is written over."""
    missing = list_missing(folder)
    if check:
        for file in missing:
            typer.echo(folder / file.name)
        raise typer.Exit(1 if missing else 0)
    for copy in write_migrations(folder, missing):
        typer.echo(copy)
    typer.secho(
        f"Migrations written to {folder}: {len(missing)}."
        if missing
        else f"{folder} has all migrations of this version.",
        err=True,
    )


async def _migrate(settings: Settings, *, check: bool) -> list[str]:
    secrets = load_or_create(settings.home)
    async with running_database(settings, secrets):
        if check:
            return await pending(database_address(settings, secrets, "owner"))
        return await migrate_database(settings, secrets)
