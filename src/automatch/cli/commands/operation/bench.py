"""`automatch bench`: what this machine can carry."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home, Json
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.runtime.logging_setup import load_settings_and_logging

if TYPE_CHECKING:
    from automatch.cli.output.tables import Table
    from automatch.ops.bench.report import Report, Step
    from automatch.settings import Settings

_INTERRUPTED = 130
_PREPARE_S = 30
"""What it takes to begin, on most machines."""


def bench(
    *,
    home: Home = None,
    minutes: Annotated[
        float, typer.Option(min=0.05, max=60, help="How long it may take in all.")
    ] = 2,
    as_json: Json = False,
) -> None:
    """Measure what this machine can carry: uploads, open feeds.

    A database and a data folder of its own, beside the real ones and removed at the end, are filled
    with simulated people. Others have their feeds open, while more and more upload drawn photos of
    1600 x 1600 pixels, until something does not keep up. Whatever else the machine does meanwhile
    is slowed down, and counts.

    The settings AUTOMATCH_WORKER__, _VISION__, _POOL__ and _POSTGRES__ are used as they are set.

    Example: `automatch bench --minutes 5`
    """
    settings = load_settings_and_logging(home=home)
    try:
        report = asyncio.run(_bench(settings, minutes * 60))
    except asyncio.CancelledError:
        echo("Interrupted; the installation of the benchmark is removed.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    if as_json:
        echo_json(_as_json(report))
        return
    from automatch.cli.output.tables import print_tables

    echo(f"{report.machine}\n")
    print_tables(_table(report))
    echo(f"\n{report.sentence}")


async def _bench(settings: Settings, seconds: float) -> Report:
    from automatch.cli.runtime.progress import elapsed_progress
    from automatch.cli.runtime.serving.connections import most_connections, raise_descriptor_limit
    from automatch.ops.bench.run import run_bench

    raise_descriptor_limit()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _cancel_once, task)
    with elapsed_progress() as progress:
        shown = progress.add_task("", total=None)
        return await run_bench(
            settings,
            seconds=max(seconds - _PREPARE_S, seconds / 2),
            most_feeds=most_connections(),
            say=lambda text: progress.update(shown, description=text),
        )


def _cancel_once(task: asyncio.Task[None]) -> None:
    # The installation is removed on the way out, which a second signal must not interrupt.
    if not task.cancelling():
        task.cancel()


def _table(report: Report) -> Table:
    from automatch.cli.output.tables import Table

    return Table(
        (
            *("uploads a minute", "kept up", "answer p50/p95, ms", "on screen p50/p95, ms"),
            *("jobs a second", "CPU ms a photo: server/worker/database", "processors busy"),
        ),
        [_row(step) for step in report.steps],
        optional_columns=("jobs a second", "CPU ms a photo: server/worker/database"),
    )


def _row(step: Step) -> tuple[object, ...]:
    answer, screen = (
        f"{times.p50:.0f} / {times.p95:.0f}" if times else "-"
        for times in (step.answer_ms, step.screen_ms)
    )
    kept_up = "yes" if step.carried else ", ".join(["no", *step.refused])
    cpu = " / ".join(f"{ms:.0f}" for ms in step.cpu_ms_per_photo.values())
    busy = f"{step.usage.busy:.0%}"
    return round(step.rate * 60), kept_up, answer, screen, f"{step.jobs_per_s:.1f}", cpu, busy


def _as_json(report: Report) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(report) | {
        "uploads_a_minute": report.uploads_a_minute,
        "is_limit": report.is_limit,
        "limited_by": report.limited_by,
        "sentence": report.sentence,
    }
