"""`automatch threshold`: the minimum similarity at which two people match."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home, Json, Preview, Rerun, Simulated
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.output.tables import note
from automatch.cli.runtime.db_session import audit_actor, db_session
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.request import InputInvalidError
from automatch.model.people import SERVICE

if TYPE_CHECKING:
    from automatch.model.similarity import MatchThreshold, ThresholdPreview
    from automatch.settings import Settings

PREVIEWED = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.8)
"""Thresholds that a preview shows in addition to the one in use."""


def threshold(
    *,
    value: Annotated[
        float | None,
        typer.Argument(metavar="SIMILARITY", help="Such as 0.4. Default: show the threshold."),
    ] = None,
    preview: Preview = False,
    rerun: Rerun = False,
    simulated: Simulated = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Show or set the minimum similarity at which two people match.

    It applies to every search from now on. Existing matches stay.

    Example: `automatch threshold 0.4 --preview`
    """
    if rerun and (value is None or preview):
        raise InputInvalidError(
            "--rerun needs a new threshold, and cannot be combined with --preview."
        )
    if value is not None and not 0 < value < 1:
        raise InputInvalidError("A threshold is a similarity between 0 and 1, such as 0.4.")
    settings = load_settings_and_logging(home=home)
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
    from automatch.cli.output.similarity_report import print_preview
    from automatch.store.matching import thresholds

    previews: list[ThresholdPreview] = []
    async with (
        db_session(settings, "worker", name="automatch-threshold") as db,
        db.as_user(SERVICE) as conn,
    ):
        before = await thresholds.load_threshold(conn)
        if preview:
            levels = sorted({*PREVIEWED, before.threshold} | ({value} if value else set()))
            previews = await thresholds.preview_thresholds(conn, levels, simulated=simulated)
        elif value is not None:
            await thresholds.set_threshold(conn, value, rerun=rerun, actor=audit_actor())
        now = await thresholds.load_threshold(conn)
    if as_json:
        result = asdict(now)
        if preview:
            result["preview"] = [asdict(row) for row in previews]
        echo_json(result)
    elif preview:
        print_preview(previews, in_use=before.threshold)
        note(f"In use: {before.threshold:g}. {_rerun_cost(now)}")
    else:
        echo(_summary(before, now, rerun=rerun))


def _summary(before: MatchThreshold, now: MatchThreshold, *, rerun: bool) -> str:
    sentences = [f"Two people match at a similarity of at least {now.threshold:g}."]
    if now.threshold != before.threshold:
        sentences.append(f"It was {before.threshold:g} before.")
    if now.rerun_left:
        sentences.append(
            f"{now.rerun_left} photos are still to be queued for another search; "
            "running workers do this after all uploads."
        )
    elif not rerun:
        sentences.append(_rerun_cost(now))
    return " ".join(sentences)


def _rerun_cost(now: MatchThreshold) -> str:
    return f"Searching again for everyone (`--rerun`) takes {now.photos} jobs."
