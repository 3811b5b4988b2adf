"""`automatch photos`: their folder or bucket, and those that wait for an operator's decision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

from automatch.cli.options import Home, Json, Limit, Yes
from automatch.cli.output.echo import confirmed, echo, echo_json
from automatch.cli.output.new_file import new_file
from automatch.cli.output.tables import Table, note, or_dash, print_tables, utc
from automatch.cli.runtime.db_session import (
    OperatorSession,
    audit_actor,
    db_session,
    run_as_operator,
)
from automatch.cli.runtime.logging_setup import load_settings_and_logging

if TYPE_CHECKING:
    from automatch.settings import Settings

_T = TypeVar("_T")

app = typer.Typer(
    help="Photos that wait for your decision. And the folder or bucket with all photos.\n\n"
    "Example: `automatch photos held`",
    no_args_is_help=True,
)


FaceId = Annotated[UUID, typer.Argument(metavar="ID", help="The photo, as `held` shows it.")]


@app.command()
def held(
    home: Home = None,
    reason: Annotated[
        str | None, typer.Option(help="Only this reason; `refused` shows what you refused.")
    ] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List photos that wait for your decision, oldest first.

    Until then they are neither found nor searched for. another_person: it shows somebody else than
    the person's first photo. another_account: it looks like the person of another account; see
    `automatch duplicates`. challenge: its person has not turned their head before the camera yet.

    Example: `automatch photos held --reason another_person`
    """
    from automatch.services.protection import cases

    found = _run(home, lambda me: cases.list_held_photos(me.db, me.operator, reason, limit))
    if as_json:
        from pydantic import TypeAdapter

        from automatch.model.faces import HeldPhoto

        echo_json(TypeAdapter(list[HeldPhoto]).dump_python(found, mode="json"))
        return
    rows = [
        (photo.face_id, photo.profile_id, or_dash(photo.school), photo.reason, utc(photo.held_at))
        for photo in found
    ]
    columns = ("photo", "account", "school", "reason", "since (UTC)")
    print_tables(Table(columns, rows, if_empty="No photo waits."))
    if found:
        note("`automatch photos show ID --out FILE --reason ...` lets you look at one.")


@app.command()
def show(
    subject: Annotated[
        UUID,
        typer.Argument(
            metavar="ID", help="The photo, or an account: its first photo, to compare with."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file to write; it must not exist.")],
    reason: Annotated[str, typer.Option(help="Why you have to see it, for the audit log.")],
    home: Home = None,
) -> None:
    """Write a photo that waits, or one to compare it with, to a file.

    The file is for you alone to read; delete it when you have decided.

    Example: `automatch photos show 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613 --out p.jpg --reason "..."`
    """
    from automatch.photos.make import make_photos
    from automatch.services.protection import cases

    photos = make_photos(load_settings_and_logging(home=home))
    with new_file(out) as file:
        jpeg = _run(
            home,
            lambda me: cases.load_held_photo(me.db, me.operator, subject, photos, reason=reason),
        )
        file.write(jpeg)
    echo(f"The photo is in {out}. Delete it when you have decided.")


@app.command()
def release(face_id: FaceId, home: Home = None) -> None:
    """Let a photo be found and searched for. Its person sees this at once.

    Example: `automatch photos release 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    _decide(home, face_id, release=True)
    echo("The photo is searched for.")


@app.command()
def refuse(face_id: FaceId, yes: Yes = False, home: Home = None) -> None:
    """Say no to a photo. Its embedding is deleted, and its person is told to delete it.

    Example: `automatch photos refuse 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    question = "Refuse this photo and delete its embedding? This cannot be undone."
    _decide(home, face_id, release=False, question=None if yes else question)
    echo("The photo is refused.")


def _decide(
    home: Path | None, face_id: UUID, *, release: bool, question: str | None = None
) -> None:
    from automatch.services.protection import cases

    async def act(me: OperatorSession) -> None:
        if question is not None and not confirmed(question, yes=False):
            raise typer.Exit(1)
        await cases.decide_held_photo(me.db, me.operator, face_id, release=release)

    _run(home, act)


def _run(home: Path | None, act: Callable[[OperatorSession], Awaitable[_T]]) -> _T:
    return run_as_operator(home, act, name="automatch-photos")


@app.command()
def adopt(
    yes: Yes = False,
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
    from automatch.store.photos import photo_store

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
