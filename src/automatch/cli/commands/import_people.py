"""`automatch import`: enrol the people of a list."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    Progress,
    TaskID,
)

from automatch.app import make_photos, open_worker
from automatch.bulk_import.enrol import Enrolment, ImportContext, Outcome, check_rows
from automatch.bulk_import.photo_files import PhotoFiles
from automatch.bulk_import.refused import RefusedRows
from automatch.bulk_import.rows import list_in, read_rows
from automatch.cli.commands.run import Home
from automatch.cli.runtime.db_session import actor, operated_database
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.cli.runtime.progress import counting_bar
from automatch.cli.runtime.signals import Stopping, stop_on_signals
from automatch.errors.request import InputInvalidError
from automatch.postgres.lockfile import is_running
from automatch.services.admission import make_admission
from automatch.settings import Settings, load_settings
from automatch.settings.secrets import load_or_create
from automatch.store.imports import list_consent_versions
from automatch.vision.decode.upload_check import limits_from

_QUIET_S = 20
"""Looks without progress after which the operator is asked whether a worker runs."""


@dataclass(frozen=True)
class _Wishes:
    people: Path
    refused: Path
    check: bool
    skip_refused: bool
    wait: bool


def import_people(
    path: Annotated[
        Path, typer.Argument(metavar="DIR|CSV", help="A list, or a folder with a people.csv.")
    ],
    *,
    home: Home = None,
    check: Annotated[
        bool, typer.Option("--check", help="Look through list and photos, keep nothing.")
    ] = False,
    skip_refused: Annotated[
        bool, typer.Option("--skip-refused", help="Go on without the rows that have a fault.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay until every photo was looked at.")
    ] = True,
    refused: Annotated[
        Path | None,
        typer.Option(help="Where the refused rows go.", show_default="LIST.refused.csv"),
    ] = None,
) -> None:
    """Enrol people who agreed elsewhere, such as on paper: photos, profiles, proof of consent.

    The list is a CSV file with the columns file, email, name, school, gender, birth_date,
    consent_version, consent_at and consent_evidence; photos lie in its folder. It is looked
    through first, and nothing is kept while a row has a fault. Photos wait behind all uploads.
    Ctrl-C stops; the same command goes on. Exit status 1: rows were refused, or are left.
    docs/import.md has the rest.
    """
    settings = load_settings(home=home)
    # Each photo that a worker of our own sees is a line of log, and would tear the bars apart.
    configure_logs(settings.model_copy(update={"log_level": _quiet(settings.log_level)}))
    people = list_in(path)
    wishes = _Wishes(
        people=people,
        refused=refused or people.with_suffix(".refused.csv"),
        check=check,
        skip_refused=skip_refused,
        wait=wait,
    )
    if wishes.refused.resolve() == people.resolve():
        raise InputInvalidError("--refused names the list itself; name another file.")
    if not asyncio.run(_import(settings, wishes)):
        raise typer.Exit(1)


async def _import(settings: Settings, wishes: _Wishes) -> bool:
    """Return whether all rows are enrolled."""
    alone = settings.database_url is None and not is_running(settings.home)
    stopping = stop_on_signals()
    async with operated_database(settings, "api", name="automatch-import") as db:
        means = ImportContext(
            db=db,
            photos=make_photos(settings),
            admission=make_admission(_with_room_for_others(settings), db),
            files=PhotoFiles(wishes.people.parent, settings.upload.max_bytes),
            limits=limits_from(settings),
            versions=await list_consent_versions(db),
        )
        with RefusedRows(wishes.refused) as refused, counting_bar() as bar:
            looking = bar.add_task("Rows looked at", total=None)
            rows = await asyncio.to_thread(
                check_rows,
                itertools.takewhile(
                    lambda _: not stopping.asked.is_set(), read_rows(wishes.people)
                ),
                means,
                refused,
                photos_too=wishes.check,
                told=lambda: bar.advance(looking),
            )
        if stopping.asked.is_set():
            return False
        if wishes.check or (refused.reasons and not wishes.skip_refused):
            _tell_checked(rows, refused)
            return not refused.reasons
        async with _worker_of_our_own(settings, stopping, wanted=alone and wishes.wait):
            return await _enrol(means, wishes, rows, stopping)


async def _enrol(means: ImportContext, wishes: _Wishes, rows: int, stopping: Stopping) -> bool:
    counts: Counter[Outcome] = Counter()
    with RefusedRows(wishes.refused) as refused, counting_bar() as bar:
        run = Enrolment(means, refused, stopping.asked)
        enrolled = bar.add_task("Rows", total=rows)

        def kept(outcome: Outcome) -> None:
            counts[outcome] += 1
            bar.advance(enrolled)

        try:
            await run.enrol(read_rows(wishes.people), kept)
            if wishes.wait:
                await run.follow(_Seen(bar, bar.add_task("Photos seen", total=None)).tell)
            await run.report(read_rows(wishes.people))
        finally:
            if counts[Outcome.NEW]:
                await run.finish(actor())
    if counts.total() < rows:
        typer.echo(f"Stopped after {counts.total()} of {rows} rows; the same command goes on.")
    typer.echo(f"Photos enrolled: {counts[Outcome.NEW]}; there before: {counts[Outcome.THERE]}.")
    _tell_refused(refused)
    if not wishes.wait:
        typer.echo("Photos that cannot be used are told by the same command, run again later.")
    return not refused.reasons and counts.total() == rows


class _Seen:
    """The bar of the photos that were looked at, and a word when none are."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._last = -1
        self._quiet = 0

    def tell(self, photos: int, still_open: int) -> None:
        self._bar.update(self._task, total=photos, completed=photos - still_open)
        self._quiet = self._quiet + 1 if still_open == self._last else 0
        self._last = still_open
        if self._quiet == _QUIET_S:
            self._bar.console.print("No photo was looked at for a while: does a worker run?")


@asynccontextmanager
async def _worker_of_our_own(
    settings: Settings, stopping: Stopping, *, wanted: bool
) -> AsyncIterator[None]:
    """Look at the photos ourselves where no Auto-Match runs that would."""
    if not wanted:
        yield
        return
    async with open_worker(settings, load_or_create(settings.home)) as worker:
        working = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.stop()
            await stopping.hasten(working, worker.abort)


def _quiet(log_level: str) -> str:
    return "warning" if log_level == "info" else log_level


def _with_room_for_others(settings: Settings) -> Settings:
    """Return settings by which half of the queue is left to those who upload."""
    half = max(1, settings.upload.max_waiting // 2)
    return settings.model_copy(
        update={"upload": settings.upload.model_copy(update={"max_waiting": half})}
    )


def _tell_checked(rows: int, refused: RefusedRows) -> None:
    if not refused.reasons:
        typer.echo(f"All {rows} rows can be imported.")
        return
    _tell_refused(refused)
    typer.echo(
        f"Nothing was imported. Put these right, or leave them out with --skip-refused "
        f"({rows - refused.reasons.total()} of {rows} rows have no fault)."
    )


def _tell_refused(refused: RefusedRows) -> None:
    if not refused.reasons:
        typer.echo("No row was refused.")
        return
    typer.echo(f"Rows refused: {refused.reasons.total()}")
    for code, count in refused.reasons.most_common():
        typer.echo(f"  {count:>6}  {code}")
    typer.echo(f"They are in {refused.path}, each with the reason.")
