"""`automatch logs`: what workers, the function and its schedule did, as the database tells it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home
from automatch.cli.output.echo import echo
from automatch.cli.runtime.db_session import db_session
from automatch.cli.runtime.logging_setup import load_settings_and_logging

if TYPE_CHECKING:
    from automatch.settings import Settings
    from automatch.store.database import Database
    from automatch.store.queue.stats import LogEntry

_POLL_S = 1.0
_COMMIT_DELAY = timedelta(seconds=30)
"""An entry may become visible this long after its timestamp, when its transaction commits late."""


class Function(StrEnum):
    """The functions that have logs."""

    MATCH_GENERATOR = "match-generator"


def logs(
    *,
    function: Annotated[Function, typer.Argument(help="The function.")] = Function.MATCH_GENERATOR,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of entries.")] = 100,
    tail: Annotated[bool, typer.Option("--tail", help="Follow new entries until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
    home: Home = None,
) -> None:
    """Show the latest function invocations, schedule runs and jobs.

    Entries hold ids, counts, times and reasons, and no names. Processes log to their own stderr.

    Example: `automatch logs match-generator --tail`
    """
    del function
    settings = load_settings_and_logging(home=home)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_logs(settings, limit, tail=tail, as_json=as_json))


async def _logs(settings: Settings, limit: int, *, tail: bool, as_json: bool) -> None:
    async with db_session(settings, "owner", name="automatch-logs") as db:
        seen: dict[tuple[str, str, str, datetime], datetime] = {}
        for entry in await _read(db, limit):
            _print(entry, as_json=as_json)
            seen[_identity(entry)] = entry.at
        if not tail and not seen:
            echo("The log is empty.", err=True)
        while tail:
            await asyncio.sleep(_POLL_S)
            since = max(seen.values(), default=datetime.now(UTC)) - _COMMIT_DELAY
            for entry in await _read(db, limit, since):
                if _identity(entry) not in seen:
                    _print(entry, as_json=as_json)
                    seen[_identity(entry)] = entry.at
            seen = {key: at for key, at in seen.items() if at > since}


async def _read(db: Database, limit: int, after: datetime | None = None) -> list[LogEntry]:
    from automatch.store.queue import stats

    async with db.connection() as conn:
        await stats.make_read_only(conn)
        return await stats.read_log(conn, limit=limit, after=after)


def _identity(entry: LogEntry) -> tuple[str, str, str, datetime]:
    return entry.source, entry.event, entry.subject, entry.at


def _print(entry: LogEntry, *, as_json: bool) -> None:
    if as_json:
        fields = {
            "at": entry.at.astimezone(UTC).isoformat(),
            "source": entry.source,
            "event": entry.event,
            "id": entry.subject,
            **entry.details,
        }
        echo(json.dumps(fields))
        return
    details = " ".join(f"{name}={value}" for name, value in entry.details.items())
    at = entry.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    echo(f"{at} {entry.source:8} {entry.event:14} {entry.subject} {details}".rstrip())
