"""`automatch calibrate`: fit the similarity scale to the people in the database."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home, Json, Simulated
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.runtime.db_session import audit_actor, db_session
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.request import InputInvalidError
from automatch.model.people import SERVICE

if TYPE_CHECKING:
    from automatch.cli.output.similarity_report import CalibrationReport
    from automatch.settings import Settings
    from automatch.store.database import Database


def calibrate(
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Use the fitted scale; the old one is kept.")
    ] = False,
    list_scales: Annotated[
        bool, typer.Option("--list", help="List all versions of the scale and exit.")
    ] = False,
    use: Annotated[
        int | None, typer.Option(metavar="VERSION", help="Use this version of the scale.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the distribution to this SVG file.")
    ] = None,
    pairs: Annotated[
        int, typer.Option(min=5_000, max=1_000_000, help="Maximum number of pairs.")
    ] = 100_000,
    seed: Annotated[int, typer.Option(help="Seed of the random sample.")] = 1,
    simulated: Simulated = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Fit the similarity scale to strangers within the schools.

    They are pairs of opposite gender; afterwards 0.5 means "closer than 99 of 100" of them. Nothing
    changes without --apply.

    Example: `automatch calibrate --plot scale.svg`
    """
    if list_scales + (use is not None) + apply > 1:
        raise InputInvalidError("--apply, --list and --use exclude each other.")
    settings = load_settings_and_logging(home=home)
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
    from automatch.store.matching import scales

    async with db_session(settings, "worker", name="automatch-calibrate") as db:
        report = await _fit(db, pairs=pairs, seed=seed, simulated=simulated)
        result = report.as_json(seed=seed, simulated=simulated)
        if plot is not None:
            await asyncio.to_thread(plot.write_text, report.as_svg(), encoding="utf-8")
        if not as_json:
            report.print()
        if apply:
            async with db.as_user(SERVICE) as conn:
                version = await scales.add_scale(
                    conn,
                    model=report.model.id,
                    midpoint=report.calibration.scale.midpoint,
                    width=report.calibration.scale.width,
                    fit=result["fit"],
                    actor=audit_actor(),
                )
            result |= {"applied": version, "rescored": await _rescore(db)}
    if as_json:
        echo_json(result)
    elif apply:
        echo(
            f"In use as version {result['applied']}; {result['rescored']} matches were rescored. "
            f"`automatch calibrate --use {report.model.scale_version}` undoes this."
        )
    else:
        echo("Nothing has changed; --apply uses this scale.")


async def _fit(db: Database, *, pairs: int, seed: int, simulated: bool) -> CalibrationReport:
    from automatch.cli.commands.matching.threshold import PREVIEWED
    from automatch.cli.output.similarity_report import CalibrationReport
    from automatch.search.calibration import check_population, fit_scale
    from automatch.store.matching import scales, thresholds

    async with db.as_user(SERVICE) as conn:
        model = await scales.load_active_model(conn)
        people = await scales.count_people(conn, simulated=simulated)
        check_population(people)
        distances, halves = await scales.sample_distances(
            conn, pairs=pairs, seed=seed, simulated=simulated
        )
    calibration = fit_scale(distances, halves, same_person_u=model.same_person_u)
    async with db.as_user(SERVICE) as conn:
        threshold = (await thresholds.load_threshold(conn)).threshold
        previews = await thresholds.preview_thresholds(
            conn,
            sorted({*PREVIEWED, threshold}),
            midpoint=calibration.scale.midpoint,
            width=calibration.scale.width,
            simulated=simulated,
        )
    return CalibrationReport(model, people, distances, calibration, threshold, previews)


async def _use(settings: Settings, version: int, *, as_json: bool) -> None:
    from automatch.store.matching import scales

    async with db_session(settings, "worker", name="automatch-calibrate") as db:
        async with db.as_user(SERVICE) as conn:
            await scales.use_scale(conn, version, audit_actor())
        count = await _rescore(db)
    if as_json:
        echo_json({"applied": version, "rescored": count})
    else:
        echo(f"Version {version} is in use; {count} matches were rescored.")


async def _rescore(db: Database) -> int:
    """Rescore all matches, one transaction per batch; workers would do it too, but later."""
    from automatch.store.matching import scales

    total = 0
    while True:
        async with db.as_user(SERVICE) as conn:
            count = await scales.rescore_matches(conn)
        total += count
        if not count:
            return total


async def _list(settings: Settings, *, as_json: bool) -> None:
    from automatch.cli.output.similarity_report import print_scales
    from automatch.store.matching import scales

    async with (
        db_session(settings, "worker", name="automatch-calibrate") as db,
        db.as_user(SERVICE) as conn,
    ):
        stored = await scales.list_scales(conn)
    if as_json:
        echo_json([asdict(scale) for scale in stored])
        return
    print_scales(stored)
