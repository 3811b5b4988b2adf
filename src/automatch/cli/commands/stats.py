"""`automatch stats`: the guide's dashboards and monitoring queries, on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.live import Live

from automatch.cli.commands.run import Home
from automatch.cli.output.stats_tables import as_tables, console
from automatch.cli.runtime.db_session import operated_database
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.settings import Settings, load_settings
from automatch.store import stats
from automatch.store.stats import Statistics

_JSON = TypeAdapter(Statistics)


def show_stats(
    *,
    home: Home = None,
    recent: Annotated[int, typer.Option(min=0, max=1000, help="Recent jobs to list.")] = 10,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.2, max=3600, help="With --watch: seconds between two looks.")
    ] = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --watch, an object a line.")
    ] = False,
) -> None:
    """Show how things go: jobs by status, times, rate, failures, workers, the schedule's runs."""
    settings = load_settings(home=home)
    configure_logs(settings)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_stats(settings, recent, every if watch else None, as_json=as_json))


async def _stats(settings: Settings, recent: int, every_s: float | None, *, as_json: bool) -> None:
    watching = every_s is not None
    async with operated_database(settings, "owner", name="automatch-stats") as db:
        with _screen(wanted=watching and not as_json) as screen:
            while True:
                # Taken anew for each look: a connection that is held for long is given up.
                async with db.connection() as conn:
                    await stats.be_careful(conn)
                    shown = await stats.load_statistics(conn, recent=recent)
                if screen is not None:
                    screen.update(as_tables(shown), refresh=True)
                else:
                    _print(shown, as_json=as_json, indent=None if watching else 2)
                if every_s is None:
                    return
                await asyncio.sleep(every_s)


def _screen(*, wanted: bool) -> contextlib.AbstractContextManager[Live | None]:
    out: Console = console()
    if not wanted or not out.is_terminal:
        return contextlib.nullcontext()
    return Live(console=out, screen=True, auto_refresh=False)


def _print(shown: Statistics, *, as_json: bool, indent: int | None) -> None:
    if as_json:
        typer.echo(_JSON.dump_json(shown, indent=indent))
    else:
        console().print(as_tables(shown))
