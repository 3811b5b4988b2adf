"""`automatch upgrade`: the embedded database and the next major version of PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from automatch.cli.options import Home, Yes
from automatch.cli.output.echo import confirmed, echo
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.request import InputInvalidError


def upgrade(
    *,
    home: Home = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Delete the old files, which were kept.")
    ] = False,
    back: Annotated[
        bool, typer.Option("--back", help="Go back to the old files; what came since is lost.")
    ] = False,
    old_bindir: Annotated[
        Path | None,
        typer.Option(help="Folder with the programs of the old PostgreSQL, if they are elsewhere."),
    ] = None,
    yes: Yes = False,
) -> None:
    """Move the embedded database to the next PostgreSQL.

    That is the one that comes with this Auto-Match. Nothing may run meanwhile. The old files are
    kept, and need as much space again, until you give them up with --confirm. Programs of the old
    version that are not here are fetched with pip.

    Example: `automatch upgrade`
    """
    from automatch.ops.upgrade import Upgrade
    from automatch.postgres.binaries import MAJOR
    from automatch.settings.secrets import secrets_of

    if confirm and back:
        raise InputInvalidError("Give --confirm or --back.")
    settings = load_settings_and_logging(home=home)
    secrets = secrets_of(settings)
    if settings.database_url is not None:
        raise InputInvalidError("The Postgres of AUTOMATCH_DATABASE_URL is upgraded where it runs.")
    change = Upgrade(settings, secrets)
    kept = change.kept
    if confirm or back:
        if kept is None:
            raise InputInvalidError("There are no old files.")
        question = (
            f"Delete {kept}? This cannot be undone."
            if confirm
            else "Go back? What was written since the upgrade is not in the old files."
        )
        if not confirmed(question, yes=yes):
            raise typer.Exit(1)
        if confirm:
            change.confirm()
            echo(f"{kept} is deleted.")
        else:
            left = change.back()
            echo(
                f"The old files are in place, for the Auto-Match that served them. The upgraded "
                f"ones are in {left}; delete them when you need them no more."
            )
        return
    if change.version == MAJOR:
        echo(f"The database is of PostgreSQL {MAJOR} already.")
        return
    old = change.version
    asyncio.run(change.run(old_bindir, lambda text: echo(text, err=True)))
    echo(
        f"The database is of PostgreSQL {MAJOR} now. The old files are kept: when all is well, "
        f"`automatch upgrade --confirm` deletes them; `--back` goes back to PostgreSQL {old}."
    )
