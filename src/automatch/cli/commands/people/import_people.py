"""`automatch import`: import the people of a CSV list."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home
from automatch.cli.output.echo import echo
from automatch.cli.runtime.db_session import audit_actor, db_session
from automatch.cli.runtime.logging_setup import configure_logging
from automatch.cli.runtime.signals import Shutdown, handle_signals
from automatch.errors.request import InputInvalidError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from automatch.bulk_import.import_run import ImportContext, ImportRun, Outcome
    from automatch.bulk_import.rows import RefusedRows
    from automatch.settings import Settings

_HINT_AFTER_POLLS = 20
"""Polls without progress after which the operator is asked whether a worker is running."""


@dataclass(frozen=True)
class _Options:
    list_file: Path
    refused_file: Path
    check: bool
    skip_refused: bool
    wait: bool
    invite: bool


def import_people(
    path: Annotated[
        Path,
        typer.Argument(metavar="DIR|CSV", help="A CSV list, or a folder that has a people.csv."),
    ],
    *,
    home: Home = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the list and the photos; import nothing.")
    ] = False,
    skip_refused: Annotated[
        bool, typer.Option("--skip-refused", help="Import the other rows when some are refused.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until every photo is processed.")
    ] = True,
    invite: Annotated[
        bool, typer.Option("--invite", help="Mail a link to those who never used their account.")
    ] = False,
    refused: Annotated[
        Path | None,
        typer.Option(help="File for the refused rows.", show_default="LIST.refused.csv"),
    ] = None,
) -> None:
    """Import people who consented elsewhere: photos, profiles, proof.

    The list is a CSV file with the columns file, email, name, school, gender, birth_date,
    consent_version, consent_at and consent_evidence; the photos are in its folder. All rows are
    checked first, and nothing is imported if one is refused. Photos are processed after all
    uploads. Ctrl-C stops; the same command resumes. Exit code 1: rows were refused or are left.
    See docs/import.md.

    Example: `automatch import class-of-2026 --check`
    """
    from automatch.bulk_import.rows import find_list
    from automatch.settings import load_settings

    settings = load_settings(home=home)
    # At "info" our own worker would log a line per photo, between the progress bars.
    level = "warning" if settings.log_level == "info" else settings.log_level
    configure_logging(settings.model_copy(update={"log_level": level}))
    list_file = find_list(path)
    options = _Options(
        list_file=list_file,
        refused_file=refused or list_file.with_suffix(".refused.csv"),
        check=check,
        skip_refused=skip_refused,
        wait=wait,
        invite=invite,
    )
    if options.refused_file.resolve() == list_file.resolve():
        raise InputInvalidError("--refused names the list itself; name another file.")
    if not asyncio.run(_import(settings, options)):
        raise typer.Exit(1)


async def _import(settings: Settings, options: _Options) -> bool:
    """Return whether all rows were imported."""
    from automatch.auth.addresses import AddressKey
    from automatch.bulk_import.import_run import ImportContext, check_rows
    from automatch.bulk_import.photo_files import PhotoFiles
    from automatch.bulk_import.rows import RefusedRows, read_rows
    from automatch.cli.runtime.progress import counting_progress
    from automatch.photos.make import make_photos
    from automatch.postgres.lockfile import is_running
    from automatch.services.photos.admission import make_admission
    from automatch.settings.secrets import secrets_of
    from automatch.store.people.imports import list_consent_versions
    from automatch.store.photos.photo_store import check_photo_store
    from automatch.vision.decode.upload_check import limits_from

    secrets = secrets_of(settings)
    needs_worker = settings.database_url is None and not is_running(settings.home)
    shutdown = handle_signals()
    photos = make_photos(settings)
    async with db_session(settings, "api", name="automatch-import") as db:
        async with db.transaction() as conn:
            await check_photo_store(conn, photos, may_claim=True)
        context = ImportContext(
            db=db,
            photos=photos,
            admission=make_admission(_with_half_the_queue(settings), db),
            files=PhotoFiles(options.list_file.parent, settings.upload.max_bytes),
            limits=limits_from(settings),
            consent_versions=await list_consent_versions(db),
            addresses=AddressKey(secrets.address_key),
        )
        with RefusedRows(options.refused_file) as refused, counting_progress() as progress:
            task = progress.add_task("Rows checked", total=None)
            rows = await asyncio.to_thread(
                check_rows,
                itertools.takewhile(
                    lambda _: not shutdown.requested.is_set(), read_rows(options.list_file)
                ),
                context,
                refused,
                check_photos=options.check,
                on_row=lambda: progress.advance(task),
            )
        if shutdown.requested.is_set():
            return False
        if options.check or (refused.reasons and not options.skip_refused):
            _print_check(rows, refused)
            return not refused.reasons
        async with _own_worker(settings, shutdown, wanted=needs_worker and options.wait):
            return await _run(settings, context, options, rows, shutdown)


async def _run(
    settings: Settings, context: ImportContext, options: _Options, rows: int, shutdown: Shutdown
) -> bool:
    from automatch.bulk_import.import_run import ImportRun, Outcome
    from automatch.bulk_import.rows import RefusedRows, read_rows
    from automatch.cli.runtime.progress import counting_progress

    counts: Counter[Outcome] = Counter()
    with RefusedRows(options.refused_file) as refused, counting_progress() as progress:
        run = ImportRun(context, refused, shutdown.requested)
        task = progress.add_task("Rows", total=rows)

        def on_outcome(outcome: Outcome) -> None:
            counts[outcome] += 1
            progress.advance(task)

        try:
            await run.import_rows(read_rows(options.list_file), on_outcome)
            if options.wait:
                photos = _PhotoProgress(progress, progress.add_task("Photos processed", total=None))
                await run.wait_for_jobs(photos.update)
            await run.report_refused_photos(read_rows(options.list_file))
        finally:
            if counts[Outcome.NEW]:
                await run.record_in_audit_log(audit_actor())
        invited = await _invite(settings, context, run, progress, options) if options.invite else 0
    if counts.total() < rows:
        echo(f"Stopped after {counts.total()} of {rows} rows; run the command again to resume.")
    echo(f"Photos imported: {counts[Outcome.NEW]}; existing: {counts[Outcome.EXISTING]}.")
    if options.invite:
        _print_invited(invited, sends_mail=settings.mails_people)
    _print_refused(refused)
    if not options.wait:
        echo("Run the command again later to see which photos could not be used.")
    return not refused.reasons and counts.total() == rows


async def _invite(
    settings: Settings,
    context: ImportContext,
    run: ImportRun,
    progress: Progress,
    options: _Options,
) -> int:
    from automatch.background import BackgroundTasks
    from automatch.mail.mailer import Mailer

    invited = await run.invite(timedelta(minutes=1) / settings.mail.invitations_per_minute)
    mailer = Mailer.from_settings(settings, context.db)
    if mailer is not None and options.wait:
        task, total = progress.add_task("Invitations mailed", total=invited), invited
        # A server may run elsewhere; whoever comes first sends a mail.
        async with BackgroundTasks().running("mail", mailer.run):

            def on_poll(waiting: int) -> None:
                nonlocal total
                # Some may wait from a run of before.
                total = max(total, waiting)
                progress.update(task, total=total, completed=total - waiting)

            await run.wait_for_invitations(on_poll)
    return invited


class _PhotoProgress:
    """The progress bar of processed photos, with a hint when none are."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._last_open = -1
        self._unchanged_polls = 0

    def update(self, photos: int, open_jobs: int) -> None:
        self._progress.update(self._task, total=photos, completed=photos - open_jobs)
        self._unchanged_polls = self._unchanged_polls + 1 if open_jobs == self._last_open else 0
        self._last_open = open_jobs
        if self._unchanged_polls == _HINT_AFTER_POLLS:
            self._progress.console.print("No photo was processed for a while. Is a worker running?")


@asynccontextmanager
async def _own_worker(
    settings: Settings, shutdown: Shutdown, *, wanted: bool
) -> AsyncIterator[None]:
    """Run a worker during the block, because none is running elsewhere."""
    if not wanted:
        yield
        return
    from automatch.settings.secrets import secrets_of
    from automatch.worker_app import open_worker

    async with open_worker(settings, secrets_of(settings)) as worker:
        working = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.stop()
            await shutdown.wait_for(working, worker.abort)


def _with_half_the_queue(settings: Settings) -> Settings:
    """Return settings that leave half of the queue to uploads."""
    half = max(1, settings.upload.max_waiting // 2)
    return settings.model_copy(
        update={"upload": settings.upload.model_copy(update={"max_waiting": half})}
    )


def _print_check(rows: int, refused: RefusedRows) -> None:
    if not refused.reasons:
        echo(f"All {rows} rows can be imported.")
        return
    _print_refused(refused)
    echo(
        "Nothing was imported. Correct these rows, or leave them out with --skip-refused "
        f"({rows - refused.reasons.total()} of {rows} rows are valid)."
    )


def _print_invited(invited: int, *, sends_mail: bool) -> None:
    echo(f"People invited: {invited}.")
    if invited and not sends_mail:
        echo("No mail server is set; `automatch mail list` has their invitations to hand over.")


def _print_refused(refused: RefusedRows) -> None:
    if not refused.reasons:
        echo("No row was refused.")
        return
    echo(f"Rows refused: {refused.reasons.total()}")
    for code, count in refused.reasons.most_common():
        echo(f"  {count:>6}  {code}")
    echo(f"They are in {refused.path}, each with the reason.")
