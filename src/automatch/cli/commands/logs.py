"""`automatch logs`: what workers, the function and its schedule did, from the database."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from automatch.cli.commands.run import Home
from automatch.cli.runtime.db_session import operated_database
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.settings import Settings, load_settings
from automatch.store import stats
from automatch.store.database import Database
from automatch.store.stats import LogEntry

_LOOK_S = 1.0
_LATE = timedelta(seconds=30)
"""A commit may come so long after the time that it writes."""


class Function(StrEnum):
    """What has logs."""

    MATCH_GENERATOR = "match-generator"


def logs(
    *,
    function: Annotated[Function, typer.Argument(help="Whose logs.")] = Function.MATCH_GENERATOR,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many entries at most.")] = 100,
    tail: Annotated[
        bool, typer.Option("--tail", help="Go on with what happens, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
    home: Home = None,
) -> None:
    """Show the last invocations of the function, runs of its schedule and jobs of the workers.

    Ids, counts, times and reasons, and nobody's name. What a process says itself is on its stderr.
    """
    del function
    settings = load_settings(home=home)
    configure_logs(settings)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_logs(settings, limit, tail=tail, as_json=as_json))


async def _logs(settings: Settings, limit: int, *, tail: bool, as_json: bool) -> None:
    async with operated_database(settings, "owner", name="automatch-logs") as db:
        seen: dict[tuple[str, str, str, datetime], datetime] = {}
        for entry in await _read(db, limit):
            _print(entry, as_json=as_json)
            seen[_identity(entry)] = entry.at
        if not tail and not seen:
            typer.echo("Nothing has happened yet.", err=True)
        while tail:
            await asyncio.sleep(_LOOK_S)
            since = max(seen.values(), default=datetime.now(UTC)) - _LATE
            for entry in await _read(db, limit, since):
                if _identity(entry) not in seen:
                    _print(entry, as_json=as_json)
                    seen[_identity(entry)] = entry.at
            seen = {key: at for key, at in seen.items() if at > since}


async def _read(db: Database, limit: int, after: datetime | None = None) -> list[LogEntry]:
    async with db.connection() as conn:
        await stats.be_careful(conn)
        return await stats.read_log(conn, limit=limit, after=after)


def _identity(entry: LogEntry) -> tuple[str, str, str, datetime]:
    return entry.source, entry.event, entry.subject, entry.at


def _print(entry: LogEntry, *, as_json: bool) -> None:
    if as_json:
        told = {
            "at": entry.at.astimezone(UTC).isoformat(),
            "source": entry.source,
            "event": entry.event,
            "id": entry.subject,
            **entry.details,
        }
        typer.echo(json.dumps(told))
        return
    details = " ".join(f"{name}={_plain(value)}" for name, value in entry.details.items())
    at = entry.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    typer.echo(f"{at} {entry.source:8} {entry.event:14} {entry.subject} {details}".rstrip())


def _plain(value: object) -> str:
    # What would move the cursor of a terminal.
    return "".join(char if char.isprintable() else " " for char in str(value))
