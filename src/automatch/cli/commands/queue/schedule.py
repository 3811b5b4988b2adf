"""`automatch schedule`: the cron jobs, what they did, and how often they check for pending jobs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from automatch.cli.options import Home, Json, Limit
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.output.tables import Table, note, print_tables
from automatch.cli.runtime.db_session import (
    OperatorSession,
    audit_actor,
    db_session,
    run_as_operator,
)
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.configuration import SettingsError
from automatch.errors.request import InputInvalidError

if TYPE_CHECKING:
    from automatch.settings import Settings
    from automatch.store.database import Connection
    from automatch.store.queue.schedule import ScheduledJob, ScheduleRun

_T = TypeVar("_T")
_NO_CRON = (
    "There is no pg_cron that the owner of the database may use: enable the extensions pg_cron and "
    "pg_net; where they are, a superuser runs `grant usage on schema cron to OWNER`."
)
_EVERY = re.compile(r"([1-9][0-9]{0,4})(s|m|h)")
_DAY_H = 24


_HELP = """The cron jobs: show, change and run them.

Workers start on a photo the moment it is uploaded. The schedule is a fallback for times when no
worker runs.

Example: `automatch schedule --every 60s`
"""

app = typer.Typer(help=_HELP)

JobName = Annotated[str, typer.Argument(metavar="NAME", help="The cron job, by its name.")]


@app.callback(invoke_without_command=True, help=_HELP)
def schedule(
    context: typer.Context,
    *,
    every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Check for pending jobs this often: 30s, 1m, 5m, 1h."),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="With --every: write the command anew, with its address and key."
        ),
    ] = False,
    off: Annotated[
        bool, typer.Option("--off", help="Disable the check; `--every` enables it again.")
    ] = False,
    rotate_key: Annotated[
        bool,
        typer.Option(
            "--rotate-key", help="Create a new key for the schedule and revoke the old one."
        ),
    ] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    if context.invoked_subcommand is not None:
        return
    if every is not None and off:
        raise InputInvalidError("Give --every or --off, not both.")
    if replace and every is None:
        raise InputInvalidError("--replace needs --every.")
    line = None if every is None else cron_line(every)
    settings = load_settings_and_logging(home=home)
    jobs = asyncio.run(_schedule(settings, line, replace=replace, off=off, rotate_key=rotate_key))
    if as_json:
        rows = [asdict(job) | {"last_run_at": _time(job.last_run_at)} for job in jobs]
        echo_json({"jobs": rows})
    else:
        _print(jobs)


@app.command("set")
def set_times(
    name: JobName,
    times: Annotated[
        str, typer.Argument(metavar="SCHEDULE", help="Such as '*/5 * * * *', or '30 seconds'.")
    ],
    home: Home = None,
) -> None:
    """Run a cron job at other times, which are UTC. Its command stays.

    Example: `automatch schedule set cleanup-match-jobs '30 2 * * *'`
    """
    from automatch.services.queue.schedule import change_schedule, next_times

    _act(home, lambda desk: change_schedule(desk.db, desk.operator, name, schedule=times))
    following = ", ".join(_time(at) or "" for at in next_times(times, datetime.now(UTC)))
    echo(f"{name} runs next at {following} (UTC).")


@app.command()
def on(name: JobName, home: Home = None) -> None:
    """Run a cron job again that is off.

    Example: `automatch schedule on cleanup-match-jobs`
    """
    from automatch.services.queue.schedule import change_schedule

    _act(home, lambda desk: change_schedule(desk.db, desk.operator, name, active=True))
    echo(f"{name} is on.")


@app.command("off")
def switch_off(name: JobName, home: Home = None) -> None:
    """Run a cron job no more; its times and command are kept.

    Example: `automatch schedule off cleanup-match-jobs`
    """
    from automatch.services.queue.schedule import change_schedule

    _act(home, lambda desk: change_schedule(desk.db, desk.operator, name, active=False))
    echo(f"{name} is off; `automatch schedule on {name}` brings it back.")


@app.command()
def run(name: JobName, home: Home = None) -> None:
    """Run a cron job now, and wait until it has ended.

    Example: `automatch schedule run cleanup-match-jobs`
    """
    from automatch.postgres.addresses import database_address
    from automatch.services.queue.schedule import load_history, run_now
    from automatch.settings.secrets import secrets_of

    async def act(desk: OperatorSession) -> ScheduleRun:
        dsn = database_address(desk.settings, secrets_of(desk.settings), "schedule")
        await run_now(desk.db, desk.operator, name, dsn)
        return (await load_history(desk.db, desk.operator, name, 1)).runs[0]

    ended = _act(home, act)
    echo(f"{ended.status}: {ended.message}")
    if ended.status == "failed":
        raise typer.Exit(1)


@app.command()
def history(name: JobName, home: Home = None, limit: Limit = 20, as_json: Json = False) -> None:
    """Show the runs of a cron job, newest first.

    Example: `automatch schedule history process-match-jobs --limit 5`
    """
    from automatch.services.queue.schedule import load_history

    loaded = _act(home, lambda desk: load_history(desk.db, desk.operator, name, limit))
    if as_json:
        echo_json([asdict(each) | {"started_at": _time(each.started_at)} for each in loaded.runs])
        return
    rows = [
        (
            _time(each.started_at) or "-",
            "-" if each.took_s is None else f"{each.took_s:.2f}",
            each.status or "-",
            each.message or "-",
        )
        for each in loaded.runs
    ]
    columns = ("started (UTC)", "took (s)", "status", "message")
    print_tables(Table(columns, rows, wrapped_column="message", if_empty="It has not run yet."))


def _act(home: Home, act: Callable[[OperatorSession], Awaitable[_T]]) -> _T:
    return run_as_operator(home, act, name="automatch-schedule-command")


def cron_line(every: str) -> str:
    """Return the cron line for `30s`, `5m` or `1h`, in the syntax of pg_cron.

    Raises:
        InputInvalidError: cron cannot express this interval.
    """
    found = _EVERY.fullmatch(every)
    count, unit = (int(found[1]), found[2]) if found else (0, "")
    if unit == "s" and count % 60 == 0:
        count, unit = count // 60, "m"
    if unit == "m" and count % 60 == 0:
        count, unit = count // 60, "h"
    # Cron counts anew each hour and each day: every 7 minutes would run at :56 and then at :00.
    if unit == "s" and count < 60:
        return f"{count} seconds"
    if unit == "m" and 60 % count == 0:
        return "* * * * *" if count == 1 else f"*/{count} * * * *"
    if unit == "h" and _DAY_H % count == 0:
        hours = {1: "*", _DAY_H: "0"}.get(count, f"*/{count}")
        return f"0 {hours} * * *"
    raise InputInvalidError(
        "Give 1s to 59s, minutes that divide an hour (1m, 5m, 30m), or hours that divide a day "
        "(1h, 6h, 24h)."
    )


async def _schedule(
    settings: Settings, line: str | None, *, replace: bool, off: bool, rotate_key: bool
) -> list[ScheduledJob]:
    from automatch.store.queue import schedule as store

    async with db_session(settings, "owner", name="automatch-schedule-command") as db:
        async with db.transaction() as conn:
            if not await store.has_cron(conn):
                raise SettingsError(_NO_CRON)
            if rotate_key:
                await store.rotate_trigger_key(conn, audit_actor())
            if line is not None and not await store.set_schedule(
                conn, line, await _url(settings, conn), audit_actor(), replace=replace
            ):
                raise SettingsError("The schedule needs the extensions pg_net and supabase_vault.")
            if off and not await store.pause_schedule(conn, audit_actor()):
                raise InputInvalidError("There is no job process-match-jobs to disable.")
        async with db.transaction() as conn:
            return await store.list_scheduled(conn)


async def _url(settings: Settings, conn: Connection) -> str:
    from automatch.settings.server_address import LEADING_SERVER
    from automatch.store.queue import schedule as store

    url = settings.public_url
    if url is None and await store.sends_http_requests(conn):
        url = LEADING_SERVER
    if url is None:
        raise SettingsError(
            "pg_net has to reach this server from the database: set AUTOMATCH_PUBLIC_URL."
        )
    return f"{url.rstrip('/')}/functions/v1/match-generator"


def _print(jobs: Sequence[ScheduledJob]) -> None:
    rows = [
        (
            job.name or f"#{job.jobid}",
            job.schedule,
            _next(job) if job.active else "off",
            _time(job.last_run_at) or "-",
            f"{job.last_status}: {job.last_message}" if job.last_status else "-",
        )
        for job in jobs
    ]
    columns = ("job", "schedule", "next (UTC)", "last (UTC)", "result")
    print_tables(Table(columns, rows, wrapped_column="result", optional_columns=("next (UTC)",)))
    for job in jobs:
        if job.ignores_seconds:
            note(
                f"{job.name or job.jobid}: pg_cron reads the first five fields of "
                f"'{job.schedule}' and ignores the last; `automatch schedule --every 30s` fixes "
                "that.",
                fg="yellow",
            )


def _next(job: ScheduledJob) -> str:
    from automatch.supabase_compat.cron_expression import EverySeconds, parse_schedule

    line = " ".join(job.schedule.split()[:5]) if job.ignores_seconds else job.schedule
    parsed = parse_schedule(line)
    if isinstance(parsed, EverySeconds):
        return f"within {parsed.seconds} s"
    return _time(parsed.next_after(datetime.now(UTC))) or "never"


def _time(at: datetime | None) -> str | None:
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(" ", "seconds").removesuffix("+00:00")
