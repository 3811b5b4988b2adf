"""`automatch models use`, `status`, `rollback`, `retire`: another model while people upload."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from automatch.cli.commands.model_files import Licence, Name, check_licence
from automatch.cli.commands.run import Home
from automatch.cli.commands.threshold import Json
from automatch.cli.output.model_report import print_comparison, print_refused, sentence
from automatch.cli.runtime.db_session import actor, operated_database
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.errors.embedder import ModelNotReadyError, ModelUnfitError
from automatch.errors.store import DatabaseUnavailableError
from automatch.model.people import SERVICE
from automatch.settings import Settings, load_settings
from automatch.store import model_changes
from automatch.store.database import Connection, Database
from automatch.vision.embed.alignment import check_fit
from automatch.vision.embed.open_embedder import open_embedder
from automatch.vision.local_analyzer import open_detector
from automatch.vision.model_check import try_model
from automatch.vision.models.registry import ModelEntry, find_entry, load_registry

_LOOK_S = 0.5
_PATIENCE_S = 60
"""So long a moment is looked for in which nobody is in the way and no photo is missing."""
_NOBODY_WORKS_S = 20

T = TypeVar("T")
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing.")]


def use(
    name: Name,
    yes: Yes = False,
    accept_licence: Licence = None,
    photos: Annotated[
        int, typer.Option(min=1, max=5000, help="Photos that the comparison searches for.")
    ] = 200,
    home: Home = None,
) -> None:
    """Change to another model while everything goes on: see every photo again, compare, change.

    The workers do the work; Ctrl-C stops nothing but the watching, and the same command goes on.
    """
    settings = load_settings(home=home)
    configure_logs(settings)
    entry = find_entry(load_registry(settings.home), name)
    check_licence(entry, accept_licence)
    _check_use(entry, settings)
    asyncio.run(_use(settings, entry, photos=photos, yes=yes))


def status(
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Show the model in use, how far a change is, and which photos the new one does not see."""
    settings = load_settings(home=home)
    configure_logs(settings)
    asyncio.run(_status(settings, as_json=as_json))


def rollback(yes: Yes = False, home: Home = None) -> None:
    """Go back to the model of before. Photos that came in since are seen by it as jobs."""
    settings = load_settings(home=home)
    configure_logs(settings)
    asyncio.run(_rollback(settings, yes=yes))


def retire(yes: Yes = False, home: Home = None) -> None:
    """Give up the model that is not in use, with its embeddings: there is no way back then."""
    settings = load_settings(home=home)
    configure_logs(settings)
    asyncio.run(_retire(settings, yes=yes))


def _check_use(entry: ModelEntry, settings: Settings) -> None:
    if entry.purpose != "embedder":
        raise ModelUnfitError(
            f"{entry.name} finds faces: set AUTOMATCH_VISION__YUNET_FILE to its file. Faces that "
            "are there need not be seen again."
        )
    try_model(entry, settings)
    check_fit(open_embedder(entry.name, settings.home), open_detector(settings.vision))


async def _use(settings: Settings, entry: ModelEntry, *, photos: int, yes: bool) -> None:
    scale, dimensions = entry.scale, entry.dimensions
    assert scale is not None
    assert dimensions is not None
    async with operated_database(settings, "worker", name="automatch-models") as db:
        await _patiently(
            db,
            lambda conn: model_changes.begin_change(
                conn,
                model=entry.name,
                dimensions=dimensions,
                midpoint=scale.midpoint,
                width=scale.width,
                same_person_u=scale.same_person_u,
                same_person_same_gender_u=scale.same_person_same_gender_u,
                actor=actor(),
            ),
        )
        await _watch(db)
        async with db.as_user(SERVICE) as conn:
            refused = await model_changes.list_refused(conn)
            comparison = await model_changes.compare_models(conn, photos=photos, examples=5)
        print_refused(refused)
        print_comparison(comparison)
        if scale.provisional:
            typer.echo(
                "The scale of this model is provisional: `automatch calibrate` fits it afterwards."
            )
        if not _agreed(f"Put {entry.name} in use?", yes=yes):
            typer.echo("Nothing has changed; the workers keep it ready.")
            return
        seen = await _patiently(db, lambda conn: model_changes.finish_change(conn, actor()))
    typer.echo(
        f"{entry.name} is in use; it has seen {seen} photos. Matches follow in the background. "
        "`automatch models rollback` goes back, `automatch models retire` gives the old one up."
    )


async def _watch(db: Database) -> None:
    """Show how far the workers are until the new model has seen every photo."""
    columns = (
        TextColumn("Photos seen"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=None, rate="")
        first: tuple[float, int] | None = None
        moved_at, moved = time.monotonic(), -1
        while True:
            async with db.as_user(SERVICE) as conn:
                change = await model_changes.read_change(conn)
            if change is None:
                raise ModelNotReadyError("The change was given up meanwhile.")
            now, done = time.monotonic(), change.done + change.refused
            first = first or (now, done)
            rate = (done - first[1]) / max(now - first[0], _LOOK_S)
            total = max(change.total, done + change.waiting)
            progress.update(task, completed=done, total=total, rate=f"{rate:.1f} photos/s")
            if change.is_ready or change.state == "active":
                progress.update(task, completed=total)
                return
            if done > moved:
                moved_at, moved = now, done
            elif now - moved_at > _NOBODY_WORKS_S:
                progress.console.print(
                    "Nothing moves. Is a worker running (`automatch up`), and has it the model's "
                    "file? Its log says."
                )
                moved_at = now
            await asyncio.sleep(_LOOK_S)


async def _status(settings: Settings, *, as_json: bool) -> None:
    async with (
        operated_database(settings, "worker", name="automatch-models") as db,
        db.as_user(SERVICE) as conn,
    ):
        model = await model_changes.read_active_model(conn)
        change = await model_changes.read_change(conn)
        refused = await model_changes.list_refused(conn)
    if as_json:
        told = {
            "model": model,
            "change": asdict(change) if change else None,
            "refused": [asdict(one) for one in refused],
        }
        typer.echo(json.dumps(told, indent=2, default=str))
        return
    typer.echo(f"{model} is in use.")
    if change is not None:
        typer.echo(sentence(change))
    print_refused(refused)


async def _rollback(settings: Settings, *, yes: bool) -> None:
    async with operated_database(settings, "worker", name="automatch-models") as db:
        async with db.as_user(SERVICE) as conn:
            change = await model_changes.read_change(conn)
        if change is not None and not _agreed(f"Go back to {change.before}?", yes=yes):
            return
        count = await _patiently(db, lambda conn: model_changes.roll_back_change(conn, actor()))
        async with db.as_user(SERVICE) as conn:
            model = await model_changes.read_active_model(conn)
    typer.echo(f"{model} is in use again; {count} photos that came in since are seen by it now.")


async def _retire(settings: Settings, *, yes: bool) -> None:
    async with operated_database(settings, "worker", name="automatch-models") as db:
        async with db.as_user(SERVICE) as conn:
            change = await model_changes.read_change(conn)
        if change is not None:
            gone = change.before if change.state == "active" else change.model
            if not _agreed(f"Give up {gone} and its embeddings for good?", yes=yes):
                return
        gone = await _patiently(db, lambda conn: model_changes.retire_change(conn, actor()))
    typer.echo(f"{gone} is given up; workers take away the matches that only it found.")


async def _patiently(db: Database, call: Callable[[Connection], Awaitable[T]]) -> T:
    """Call until nobody is in the way; each try takes its locks at once or not at all."""
    give_up_at = time.monotonic() + _PATIENCE_S
    while True:
        try:
            async with db.as_user(SERVICE) as conn:
                return await call(conn)
        except (DatabaseUnavailableError, ModelNotReadyError):
            if time.monotonic() > give_up_at:
                raise
        await asyncio.sleep(_LOOK_S)


def _agreed(question: str, *, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        typer.echo(f"{question} Say so with --yes.")
        return False
    return typer.confirm(question)
