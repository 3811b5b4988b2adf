"""`automatch db`: connection strings, and the migrations as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from automatch.cli.options import Home
from automatch.cli.output.echo import echo
from automatch.postgres.addresses import Role, database_address
from automatch.settings import load_settings
from automatch.settings.secrets import load_or_create
from automatch.store.export import list_missing, write_migrations

_SUPABASE_FOLDER = Path("supabase", "migrations")

app = typer.Typer(help="The database itself.", no_args_is_help=True)


@app.command()
def url(
    home: Home = None,
    role: Annotated[
        Role, typer.Option(help="Whose login: owner for an SQL editor, api or worker.")
    ] = "owner",
) -> None:
    """Print a connection string, including the password.

    Example: `psql "$(automatch db url)"`
    """
    settings = load_settings(home=home)
    echo(database_address(settings, load_or_create(settings.home), role))


@app.command()
def export(
    folder: Annotated[
        Path, typer.Argument(help="The migrations folder of the Supabase CLI.")
    ] = _SUPABASE_FOLDER,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; list missing files, exit 1 if there are any."),
    ] = False,
) -> None:
    """Write the migrations beside your own, for `supabase db push`. No file is overwritten.

    Example: `automatch db export supabase/migrations`
    """
    missing = list_missing(folder)
    if check:
        for file in missing:
            echo(folder / file.name)
        raise typer.Exit(1 if missing else 0)
    for copy in write_migrations(folder, missing):
        echo(copy)
    echo(
        f"Migrations written to {folder}: {len(missing)}."
        if missing
        else f"{folder} has all migrations of this version.",
        err=True,
    )
