"""`automatch photos`: the folder or bucket with the photos."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home
from automatch.cli.output.echo import echo
from automatch.cli.runtime.db_session import audit_actor, db_session
from automatch.cli.runtime.logging_setup import load_settings_and_logging

if TYPE_CHECKING:
    from automatch.settings import Settings

app = typer.Typer(
    help="The folder or bucket with the photos.\n\nExample: `automatch photos adopt`",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    pass


@app.command()
def adopt(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """Make this folder or bucket the place of the database's photos.

    For photos that were moved or restored. Server and workers refuse any other place, so that none
    of them fails or forgets photos that lie elsewhere; stop them before.

    Example: `automatch photos adopt`
    """
    settings = load_settings_and_logging(home=home)
    asyncio.run(_adopt(settings, ask=not yes))


async def _adopt(settings: Settings, *, ask: bool) -> None:
    from automatch.photos.make import make_photos
    from automatch.store import photo_store

    photos = make_photos(settings)
    async with db_session(settings, "owner", name="automatch-photos") as db:
        async with db.connection() as conn:
            if await photo_store.is_photo_store_of(conn, photos):
                echo(f"The photos of this database are in {photos.location} already.")
                return
            await photo_store.check_nobody_is_connected(conn)
            newest = await photo_store.list_newest_photos(conn)
        found = [path for path in newest if await photos.read_copy(path, "thumb") is not None]
        echo(f"{len(found)} of the {len(newest)} newest photos have their files here.")
        if missing := len(newest) - len(found):
            echo(
                f"If you go on, {missing} of them and maybe more cannot be shown or read again, "
                "until their files are put here."
            )
        echo("Photos here that the database does not know are deleted an hour after the start.")
        if ask and not typer.confirm(f"Make {photos.location} the place of all photos?", err=True):
            raise typer.Exit(1)
        async with db.transaction() as conn:
            await photo_store.adopt_photo_store(conn, photos, audit_actor())
    echo(f"The photos of this database are in {photos.location} now. Start server and workers.")
