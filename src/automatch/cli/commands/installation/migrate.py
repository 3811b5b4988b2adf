"""`automatch migrate`: the schema of the database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home
from automatch.cli.output.echo import echo
from automatch.cli.runtime.db_session import ensure_postgres
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.cli.runtime.start_checks import migrate_database, owner_hints

if TYPE_CHECKING:
    from automatch.settings import Settings


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
        if not versions:
            # Standard output lists what is pending.
            echo("The database is up to date.", err=True)
        raise typer.Exit(1 if versions else 0)
    echo(f"Migrations applied: {len(versions)}." if versions else "The database is up to date.")


async def _migrate(settings: Settings, *, check: bool, take_over: bool) -> list[str]:
    from automatch.postgres.addresses import database_address, login_passwords
    from automatch.settings.secrets import secrets_of
    from automatch.store.installation.migrate import are_logins_ours, pending

    # On a Postgres of the operator's own this is what makes the installation; else `up` does.
    is_first = settings.database_url is not None and not check
    secrets = secrets_of(settings, create=True) if is_first else secrets_of(settings)
    async with ensure_postgres(settings, secrets):
        owner = database_address(settings, secrets, "owner")
        if check:
            return await pending(owner)
        if take_over and await are_logins_ours(owner, login_passwords(secrets)):
            echo("The logins of the server are this installation's already.")
        versions = await migrate_database(settings, secrets, take_over=take_over)
        for hint in await owner_hints(settings, secrets):
            echo(hint, err=True)
        return versions
