"""`automatch stats`: the guide's dashboards and monitoring queries, in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home
from automatch.cli.output.echo import echo_json
from automatch.cli.output.tables import in_order, print_tables, stdout_console
from automatch.cli.runtime.db_session import db_session
from automatch.cli.runtime.logging_setup import load_settings_and_logging

if TYPE_CHECKING:
    from rich.live import Live

    from automatch.settings import Settings
    from automatch.store.queue.stats import Statistics

_REPLICA_S = 3
"""How long the replica is waited for."""


def show_stats(
    *,
    home: Home = None,
    recent: Annotated[
        int, typer.Option(min=0, max=1000, help="Recent jobs and runs to list.")
    ] = 10,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option(min=0.2, max=3600, help="With --watch: seconds between refreshes.")
    ] = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --watch, one object per line.")
    ] = False,
) -> None:
    """Show the statistics of jobs, workers and schedule runs.

    Example: `automatch stats --watch --every 5`
    """
    settings = load_settings_and_logging(home=home)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_stats(settings, recent, every if watch else None, as_json=as_json))


async def _stats(settings: Settings, recent: int, every_s: float | None, *, as_json: bool) -> None:
    from automatch.cli.output.stats_tables import as_tables
    from automatch.postgres.addresses import replica_address
    from automatch.settings.secrets import secrets_of
    from automatch.store.queue import stats
    from automatch.store.replica import look_at_replica

    watching = every_s is not None
    replica = replica_address(settings, secrets_of(settings))
    async with db_session(settings, "owner", name="automatch-stats") as db:
        with _screen(wanted=watching and not as_json) as screen:
            while True:
                # A new connection each time: the pool closes connections that are held for long.
                async with db.connection() as conn:
                    await stats.make_read_only(conn)
                    loaded = await stats.load_statistics(conn, recent=recent)
                    if replica is not None:
                        lag_s = await look_at_replica(conn, replica, wait_s=_REPLICA_S)
                        loaded = replace(loaded, replica=stats.ReplicaStatus(lag_s))
                if screen is not None:
                    screen.update(in_order(*as_tables(loaded)), refresh=True)
                elif as_json:
                    _print_json(loaded, indent=None if watching else 2)
                else:
                    print_tables(*as_tables(loaded))
                if every_s is None:
                    return
                await asyncio.sleep(every_s)


def _screen(*, wanted: bool) -> contextlib.AbstractContextManager[Live | None]:
    if not wanted or not sys.stdout.isatty():
        return contextlib.nullcontext()
    from rich.live import Live

    return Live(console=stdout_console(), screen=True, auto_refresh=False)


def _print_json(loaded: Statistics, *, indent: int | None) -> None:
    from pydantic import TypeAdapter

    from automatch.store.queue.stats import Statistics

    echo_json(TypeAdapter(Statistics).dump_python(loaded, mode="json"), indent=indent)
