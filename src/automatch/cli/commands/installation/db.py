"""`automatch db`: connection strings, the migrations as files, and the files of the tables."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from automatch.cli.commands.installation import distribution
from automatch.cli.options import Home
from automatch.cli.output.echo import echo
from automatch.errors.store import DatabaseUnavailableError
from automatch.postgres.addresses import Role

_SUPABASE_FOLDER = Path("supabase", "migrations")

app = typer.Typer(help="The database itself.\n\nExample: `automatch db url`", no_args_is_help=True)
app.command()(distribution.distribute)
app.command()(distribution.gather)


@app.command()
def url(
    home: Home = None,
    role: Annotated[
        Role, typer.Option(help="Whose login: owner for an SQL editor, api, worker or schedule.")
    ] = "owner",
) -> None:
    """Print a connection string, including the password.

    Example: `psql "$(automatch db url)"`
    """
    echo(_address(home, role))


@app.command()
def scrub(home: Home = None) -> None:
    """Rewrite tables so that no file holds what people erased.

    `automatch up` does this by itself for the embedded database. In a cluster it reaches the files
    of all machines.

    Example: `automatch db scrub`
    """
    import psycopg

    from automatch.postgres.erased_data import ErasedData

    address = _address(home, "owner")
    try:
        is_complete = asyncio.run(ErasedData(address).remove())
    except psycopg.Error as exc:
        raise DatabaseUnavailableError(f"The database cannot be rewritten: {exc}") from exc
    echo(
        "Erased data is out of the tables."
        if is_complete
        else "Some tables are in use, a transaction still sees erased data, or a machine of a "
        "cluster is away; try again."
    )
    raise typer.Exit(0 if is_complete else 1)


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
    from automatch.store.installation.export import list_missing, write_migrations

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


def _address(home: Path | None, role: Role) -> str:
    from automatch.postgres.addresses import database_address
    from automatch.settings import load_settings
    from automatch.settings.secrets import secrets_of

    settings = load_settings(home=home)
    return database_address(settings, secrets_of(settings), role)
