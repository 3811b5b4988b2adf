"""`automatch models use`, `status`, `rollback`, `retire`: switch models while people upload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from automatch.cli.options import Home, Json, Yes
from automatch.cli.output.echo import confirmed, echo, echo_json
from automatch.cli.runtime.db_session import audit_actor, db_session
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.embedder import ModelNotReadyError
from automatch.errors.store import DatabaseUnavailableError
from automatch.model.embedding_models import ModelChange, ModelComparison, RefusedPhotos
from automatch.model.people import SERVICE

if TYPE_CHECKING:
    from automatch.settings import Settings
    from automatch.store.database import Connection, Database
    from automatch.vision.models.registry import ModelEntry

_POLL_S = 0.5
_RETRY_FOR_S = 60
"""How long a step is retried while locks are held or photos are missing."""
_NO_PROGRESS_S = 20

T = TypeVar("T")
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="As `automatch models list` says.")]
AcceptLicence = Annotated[
    str | None,
    typer.Option(
        "--accept-licence", metavar="LICENCE", help="For a licence that forbids commercial use."
    ),
]


def use(
    name: ModelName,
    yes: Yes = False,
    accept_licence: AcceptLicence = None,
    photos: Annotated[
        int, typer.Option(min=1, max=5000, help="Number of photos to search for in the comparison.")
    ] = 200,
    home: Home = None,
) -> None:
    """Switch to another model while people upload.

    The workers embed every photo again; then the models are compared, and you decide. Ctrl-C stops
    only the display, and the same command resumes it.

    Example: `automatch models use arcface --photos 500`
    """
    from automatch.services.matching.model_changes import check_licence, check_usable
    from automatch.vision.models.registry import find_entry, load_registry

    settings = load_settings_and_logging(home=home)
    entry = find_entry(load_registry(settings.home), name)
    check_licence(entry, accept_licence)
    check_usable(entry, settings)
    asyncio.run(_use(settings, entry, photos=photos, yes=yes))


def status(
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Show the model in use and the progress of a switch.

    Photos that the new model refuses are named, with the reason.

    Example: `automatch models status --json`
    """
    settings = load_settings_and_logging(home=home)
    asyncio.run(_status(settings, as_json=as_json))


def rollback(yes: Yes = False, home: Home = None) -> None:
    """Go back to the previous model. It embeds the photos uploaded since as jobs.

    Example: `automatch models rollback`
    """
    settings = load_settings_and_logging(home=home)
    asyncio.run(_rollback(settings, yes=yes))


def retire(yes: Yes = False, home: Home = None) -> None:
    """Delete the embeddings of the model that is not in use. This cannot be undone.

    Example: `automatch models retire`
    """
    settings = load_settings_and_logging(home=home)
    asyncio.run(_retire(settings, yes=yes))


async def _use(settings: Settings, entry: ModelEntry, *, photos: int, yes: bool) -> None:
    from automatch.services.matching.model_changes import change_values
    from automatch.store.matching import model_changes

    scale = entry.scale
    assert scale is not None
    async with db_session(settings, "worker", name="automatch-models") as db:
        await _retry_while_busy(
            db,
            lambda conn: model_changes.begin_change(
                conn,
                actor=audit_actor(),
                **change_values(entry),
            ),
        )
        await _watch(db)
        async with db.as_user(SERVICE) as conn:
            refused = await model_changes.list_refused(conn)
            comparison = await model_changes.compare_models(conn, photos=photos, examples=5)
        _print_refused(refused)
        _print_comparison(comparison)
        if scale.provisional:
            echo(
                "The scale of this model is provisional: `automatch calibrate` fits it afterwards."
            )
        if not confirmed(f"Put {entry.name} in use?", yes=yes):
            echo("Nothing has changed; the workers keep the new model ready.")
            return
        seen = await _retry_while_busy(
            db, lambda conn: model_changes.finish_change(conn, audit_actor())
        )
    echo(
        f"{entry.name} is in use; it has embedded {seen} photos. Matches follow in the background. "
        "`automatch models rollback` undoes this; `automatch models retire` deletes the old one."
    )


async def _watch(db: Database) -> None:
    """Show the progress of the workers until the new model has embedded every photo."""
    from automatch.cli.runtime.progress import counting_progress
    from automatch.store.matching import model_changes

    with counting_progress() as progress:
        task = progress.add_task("Photos embedded", total=None)
        first: tuple[float, int] | None = None
        moved_at, moved = time.monotonic(), -1
        while True:
            async with db.as_user(SERVICE) as conn:
                change = await model_changes.read_change(conn)
            if change is None:
                raise ModelNotReadyError("The switch was cancelled meanwhile.")
            now, done = time.monotonic(), change.done + change.refused
            first = first or (now, done)
            rate = (done - first[1]) / max(now - first[0], _POLL_S)
            total = max(change.total, done + change.waiting)
            progress.update(
                task, completed=done, total=total, description=f"Photos embedded, {rate:.1f}/s"
            )
            if change.is_ready or change.state == "active":
                progress.update(task, completed=total)
                return
            if done > moved:
                moved_at, moved = now, done
            elif now - moved_at > _NO_PROGRESS_S:
                progress.console.print(
                    "No progress. Is a worker running (`automatch up`), and does it have the "
                    "model's file? Check its log."
                )
                moved_at = now
            await asyncio.sleep(_POLL_S)


async def _status(settings: Settings, *, as_json: bool) -> None:
    from automatch.store.matching import model_changes

    async with (
        db_session(settings, "worker", name="automatch-models") as db,
        db.as_user(SERVICE) as conn,
    ):
        model = await model_changes.read_active_model(conn)
        change = await model_changes.read_change(conn)
        refused = await model_changes.list_refused(conn)
    if as_json:
        result = {
            "model": model,
            "change": asdict(change) if change else None,
            "refused": [asdict(group) for group in refused],
        }
        echo_json(result)
        return
    echo(f"{model} is in use.")
    if change is not None:
        echo(_progress_sentence(change))
    _print_refused(refused)


async def _rollback(settings: Settings, *, yes: bool) -> None:
    from automatch.store.matching import model_changes

    async with db_session(settings, "worker", name="automatch-models") as db:
        async with db.as_user(SERVICE) as conn:
            change = await model_changes.read_change(conn)
        if change is not None and not confirmed(f"Go back to {change.before}?", yes=yes):
            return
        count = await _retry_while_busy(
            db, lambda conn: model_changes.roll_back_change(conn, audit_actor())
        )
        async with db.as_user(SERVICE) as conn:
            model = await model_changes.read_active_model(conn)
    echo(f"{model} is in use again; it is embedding {count} photos that were uploaded since.")


async def _retire(settings: Settings, *, yes: bool) -> None:
    from automatch.store.matching import model_changes

    async with db_session(settings, "worker", name="automatch-models") as db:
        async with db.as_user(SERVICE) as conn:
            change = await model_changes.read_change(conn)
        if change is not None:
            gone = change.before if change.state == "active" else change.model
            if not confirmed(f"Delete the embeddings of {gone}? This cannot be undone.", yes=yes):
                return
        gone = await _retry_while_busy(
            db, lambda conn: model_changes.retire_change(conn, audit_actor())
        )
    echo(f"{gone} is retired; workers delete the matches that only it found.")


def _progress_sentence(change: ModelChange) -> str:
    """Return the progress of a switch, and what can be done next."""
    if change.state == "active":
        return f"{change.before} is kept: `automatch models rollback`, or `retire` to delete it."
    if change.state == "rolled_back":
        return f"{change.model} was in use and is kept: `automatch models use {change.model}`."
    if change.is_ready:
        return f"{change.model} has embedded every photo: `automatch models use {change.model}`."
    return (
        f"{change.model} is being prepared: {change.done} of {change.total} photos embedded, "
        f"{change.refused} refused."
    )


def _print_refused(refused: list[RefusedPhotos]) -> None:
    for group in refused:
        faces = ", ".join(str(face) for face in group.examples)
        echo(f"Refused, {group.code}: {group.faces} photos ({group.message}), e.g. {faces}")


def _print_comparison(comparison: ModelComparison) -> None:
    lost = comparison.matches_before - comparison.in_both
    gained = comparison.matches_after - comparison.in_both
    echo(
        f"In a sample of {comparison.photos} photos: {comparison.matches_before} matches now, "
        f"{comparison.matches_after} with the new model; {comparison.in_both} in both, {lost} "
        f"lost, {gained} gained. Photos without a match: {comparison.without_before} now, "
        f"{comparison.without_after} then."
    )
    for example in comparison.examples:
        change = "lost" if example["after"] is None else "gained"
        similarity = example["before"] if example["after"] is None else example["after"]
        echo(f"  {change} {similarity:.2f}  {example['face_id']}  {example['other_face_id']}")


async def _retry_while_busy(db: Database, call: Callable[[Connection], Awaitable[T]]) -> T:
    """Retry *call* while others hold its locks; each try takes them at once or fails."""
    give_up_at = time.monotonic() + _RETRY_FOR_S
    while True:
        try:
            async with db.as_user(SERVICE) as conn:
                return await call(conn)
        except (DatabaseUnavailableError, ModelNotReadyError):
            if time.monotonic() > give_up_at:
                raise
        await asyncio.sleep(_POLL_S)
