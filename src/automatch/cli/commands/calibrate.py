"""`automatch calibrate`: fit the similarity scale on the people there are."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from automatch.cli.commands.run import Home
from automatch.cli.commands.threshold import PREVIEWED, Json, Simulated
from automatch.cli.output.calibration_report import Report, print_scales
from automatch.cli.runtime.db_session import actor, operated_database
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.errors.request import InputInvalidError
from automatch.model.people import SERVICE
from automatch.search.calibration import check_population, fit_scale
from automatch.settings import Settings, load_settings
from automatch.store import scales, thresholds
from automatch.store.database import Database


def calibrate(
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Put the fitted scale in use; the old one is kept.")
    ] = False,
    list_scales: Annotated[
        bool, typer.Option("--list", help="List all scales there have been, and stop.")
    ] = False,
    use: Annotated[
        int | None, typer.Option(metavar="VERSION", help="Put a scale of the list in use.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the distribution as SVG.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=5_000, max=1_000_000, help="Pairs at most.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Another number takes other pairs.")] = 1,
    simulated: Simulated = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Fit the similarity scale to strangers of opposite gender inside the schools.

    Afterwards 0.5 means "closer than 99 of 100" of them. Nothing changes without --apply.
    """
    if list_scales + (use is not None) + apply > 1:
        raise InputInvalidError("--apply, --list and --use are three different things; name one.")
    settings = load_settings(home=home)
    configure_logs(settings)
    if list_scales:
        asyncio.run(_list(settings, as_json=as_json))
    elif use is not None:
        asyncio.run(_use(settings, use, as_json=as_json))
    else:
        asyncio.run(
            _calibrate(
                settings,
                apply=apply,
                plot=plot,
                pairs=pairs,
                seed=seed,
                simulated=simulated,
                as_json=as_json,
            )
        )


async def _calibrate(
    settings: Settings,
    *,
    apply: bool,
    plot: Path | None,
    pairs: int,
    seed: int,
    simulated: bool,
    as_json: bool,
) -> None:
    async with operated_database(settings, "worker", name="automatch-calibrate") as db:
        report = await _fit(db, pairs=pairs, seed=seed, simulated=simulated)
        told = report.told(seed=seed, simulated=simulated)
        if plot is not None:
            await asyncio.to_thread(plot.write_text, report.svg(), encoding="utf-8")
        if not as_json:
            report.print()
        if apply:
            async with db.as_user(SERVICE) as conn:
                version = await scales.add_scale(
                    conn,
                    model=report.model.id,
                    midpoint=report.calibration.scale.midpoint,
                    width=report.calibration.scale.width,
                    fit=told["fit"],
                    actor=actor(),
                )
            told |= {"applied": version, "rescored": await _rescore(db)}
    if as_json:
        typer.echo(json.dumps(told, indent=2))
    elif apply:
        typer.echo(
            f"In use as version {told['applied']}; {told['rescored']} matches were scored again. "
            f"`automatch calibrate --use {report.model.scale_version}` goes back."
        )
    else:
        typer.echo("Nothing has changed; --apply puts this scale in use.")


async def _fit(db: Database, *, pairs: int, seed: int, simulated: bool) -> Report:
    async with db.as_user(SERVICE) as conn:
        model = await scales.load_active_model(conn)
        people = await scales.count_people(conn, simulated=simulated)
        check_population(people)
        distances, halves = await scales.sample_distances(
            conn, pairs=pairs, seed=seed, simulated=simulated
        )
    calibration = fit_scale(distances, halves, same_person_u=model.same_person_u)
    async with db.as_user(SERVICE) as conn:
        in_use = (await thresholds.load_threshold(conn)).threshold
        previews = await thresholds.preview_thresholds(
            conn,
            sorted({*PREVIEWED, in_use}),
            midpoint=calibration.scale.midpoint,
            width=calibration.scale.width,
            simulated=simulated,
        )
    return Report(model, people, distances, calibration, in_use, previews)


async def _use(settings: Settings, version: int, *, as_json: bool) -> None:
    async with operated_database(settings, "worker", name="automatch-calibrate") as db:
        async with db.as_user(SERVICE) as conn:
            await scales.use_scale(conn, version, actor())
        count = await _rescore(db)
    if as_json:
        typer.echo(json.dumps({"applied": version, "rescored": count}, indent=2))
    else:
        typer.echo(f"Version {version} is in use; {count} matches were scored again.")


async def _rescore(db: Database) -> int:
    """Score all matches with the scale in use, a commit per batch; workers would do it as well."""
    total = 0
    while True:
        async with db.as_user(SERVICE) as conn:
            count = await scales.rescore_matches(conn)
        total += count
        if not count:
            return total


async def _list(settings: Settings, *, as_json: bool) -> None:
    async with (
        operated_database(settings, "worker", name="automatch-calibrate") as db,
        db.as_user(SERVICE) as conn,
    ):
        stored = await scales.list_scales(conn)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in stored], indent=2, default=str))
        return
    print_scales(stored)
