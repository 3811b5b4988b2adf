"""`automatch threshold`: from which similarity on two people match."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from automatch.cli.commands.run import Home
from automatch.cli.runtime.db_session import actor, operated_database
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.errors.request import InputInvalidError
from automatch.model.people import SERVICE
from automatch.model.similarity import MatchThreshold, ThresholdPreview
from automatch.settings import Settings, load_settings
from automatch.store import thresholds

PREVIEWED = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.8)
"""Thresholds that a preview shows besides the one in use."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON and not tables.")]
Preview = Annotated[
    bool, typer.Option("--preview", help="Show what it would mean, and change nothing.")
]
Rerun = Annotated[
    bool, typer.Option("--rerun", help="Search again for all photos, behind all uploads.")
]
Simulated = Annotated[
    bool, typer.Option("--simulated", help="Count the people of `automatch demo` too.")
]


def threshold(
    *,
    value: Annotated[
        float | None,
        typer.Argument(metavar="[SIMILARITY]", help="Such as 0.4; left out, only look."),
    ] = None,
    preview: Preview = False,
    rerun: Rerun = False,
    simulated: Simulated = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Show or set the similarity from which on two people match.

    It holds for every search from now on. Matches that are there stay.
    """
    if rerun and (value is None or preview):
        raise InputInvalidError("--rerun goes with a new threshold, and not with --preview.")
    if value is not None and not 0 < value < 1:
        raise InputInvalidError("A threshold is a similarity between 0 and 1, such as 0.4.")
    settings = load_settings(home=home)
    configure_logs(settings)
    asyncio.run(
        _threshold(
            settings,
            value,
            preview=preview,
            rerun=rerun,
            simulated=simulated,
            as_json=as_json,
        )
    )


async def _threshold(
    settings: Settings,
    value: float | None,
    *,
    preview: bool,
    rerun: bool,
    simulated: bool,
    as_json: bool,
) -> None:
    previews: list[ThresholdPreview] = []
    async with (
        operated_database(settings, "worker", name="automatch-threshold") as db,
        db.as_user(SERVICE) as conn,
    ):
        before = await thresholds.load_threshold(conn)
        if preview:
            asked = sorted({*PREVIEWED, before.threshold} | ({value} if value else set()))
            previews = await thresholds.preview_thresholds(conn, asked, simulated=simulated)
        elif value is not None:
            await thresholds.set_threshold(conn, value, rerun=rerun, actor=actor())
        now = await thresholds.load_threshold(conn)
    if as_json:
        told = asdict(now) | ({"preview": [asdict(one) for one in previews]} if preview else {})
        typer.echo(json.dumps(told, indent=2))
    elif preview:
        print_preview(previews, in_use=before.threshold)
        typer.echo(f"In use: {before.threshold:g}. {_cost(now)}")
    else:
        typer.echo(_tell(before, now, rerun=rerun))


def print_preview(previews: Sequence[ThresholdPreview], *, in_use: float | None) -> None:
    """Print a table, a line a threshold."""
    if not previews:
        typer.echo(
            "Nobody with a photo can be found yet, so there is nothing to judge by "
            "(`--simulated` counts the people of `automatch demo`)."
        )
        return
    table = Table("threshold", "matches a person", "half have at least", "people with none")
    table.box = box.SIMPLE
    for one in previews:
        mark = " (in use)" if one.threshold == in_use else ""
        table.add_row(
            f"{one.threshold:g}{mark}",
            f"{one.matches:.1f}",
            f"{one.median_matches:.0f}",
            f"{one.without_any} of {one.people}",
        )
    Console(highlight=False).print(table)
    if previews[0].looked_at < previews[0].people:
        typer.echo(f"Judged by {previews[0].looked_at} people taken by chance.")


def _tell(before: MatchThreshold, now: MatchThreshold, *, rerun: bool) -> str:
    sentences = [f"Two people match from a similarity of {now.threshold:g} on."]
    if now.threshold != before.threshold:
        sentences[0] = f"Two people match from a similarity of {now.threshold:g} on now, "
        sentences[0] += f"and no longer from {before.threshold:g}."
    if now.rerun_left:
        sentences.append(
            f"{now.rerun_left} photos are still to be queued for another search; "
            "running workers do it, behind all uploads."
        )
    elif not rerun:
        sentences.append(_cost(now))
    return " ".join(sentences)


def _cost(now: MatchThreshold) -> str:
    return f"A search again for everybody (`--rerun`) takes {now.photos} jobs."
