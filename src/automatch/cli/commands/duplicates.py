"""`automatch duplicates`: accounts that look like one person, and what you say of them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from automatch.cli.commands.run import Home
from automatch.cli.runtime.db_session import actor, operate
from automatch.http.routes.admin_duplicates import DuplicatesShown, MatchingForm
from automatch.model.matches import DuplicateState
from automatch.store import duplicates
from automatch.store.database import Connection

_T = TypeVar("_T")
_WIDE = 250
"""Columns where there is no terminal: nothing is cut off for whoever reads a pipe."""

app = typer.Typer(
    help="Accounts that look like one person. Workers find them while no photo waits; you decide. "
    "Decisions are written into the audit log.",
    no_args_is_help=True,
)

Json = Annotated[
    bool, typer.Option("--json", help="Print JSON, in the form of the admin API, and not a table.")
]
PairId = Annotated[UUID, typer.Argument(metavar="ID", help="The pair, as `list` shows it.")]


class _Shown(StrEnum):
    OPEN = "open"
    DISMISSED = "dismissed"
    CONFIRMED = "confirmed"
    ALL = "all"


class _Switch(StrEnum):
    ON = "on"
    OFF = "off"


@app.command("list")
def list_pairs(
    home: Home = None,
    state: Annotated[_Shown, typer.Option(help="Which of them.")] = _Shown.OPEN,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List pairs of accounts, closest first. The smaller the distance u, the surer it is."""
    wanted = None if state is _Shown.ALL else DuplicateState(state.value)

    async def look(conn: Connection) -> DuplicatesShown:
        return DuplicatesShown(
            duplicates=await duplicates.list_duplicates(conn, wanted, limit),
            match=await duplicates.is_matching(conn),
        )

    shown = _run(home, look)
    if as_json:
        typer.echo(shown.model_dump_json(indent=2))
    else:
        _print(shown)


@app.command()
def confirm(pair_id: PairId, home: Home = None) -> None:
    """Say that the two accounts are one person."""
    _decide(home, pair_id, DuplicateState.CONFIRMED)


@app.command()
def dismiss(pair_id: PairId, home: Home = None) -> None:
    """Say that they are two people, such as twins. They match again, whatever `matching` says."""
    _decide(home, pair_id, DuplicateState.DISMISSED)


@app.command()
def reopen(pair_id: PairId, home: Home = None) -> None:
    """Take a decision back."""
    _decide(home, pair_id, DuplicateState.OPEN)


@app.command()
def matching(
    switch: Annotated[
        _Switch | None, typer.Argument(metavar="[on|off]", help="Left out, only look.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show or set whether two accounts that look like one person match (the default: they do).

    `off` takes their cards out of both feeds at once, except of pairs that were dismissed.
    """

    async def change(conn: Connection) -> bool:
        if switch is not None:
            await duplicates.set_matching(conn, actor(), switch is _Switch.ON)
        return await duplicates.is_matching(conn)

    match = _run(home, change)
    if as_json:
        typer.echo(MatchingForm(match=match).model_dump_json())
    else:
        typer.echo(_matching(match))


def _decide(home: Home, pair_id: UUID, state: DuplicateState) -> None:
    _run(home, lambda conn: duplicates.decide(conn, actor(), pair_id, state))
    typer.echo(f"The pair is {state.value}.")


def _print(shown: DuplicatesShown) -> None:
    if shown.duplicates:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("pair", "account", "and account", "u", "state", "found (UTC)", "decided by"):
            # An id that is broken in two cannot be copied.
            table.add_column(column, no_wrap=column != "decided by", overflow="fold")
        for pair in shown.duplicates:
            table.add_row(
                str(pair.id),
                str(pair.profile_a_id),
                str(pair.profile_b_id),
                f"{pair.u:.3f}",
                pair.state.value,
                f"{pair.found_at:%Y-%m-%d %H:%M}",
                escape(pair.decided_by or "-"),
            )
        Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE).print(table)
    else:
        typer.echo("No such pair.")
    typer.echo(_matching(shown.match))


def _matching(match: bool) -> str:
    return (
        f"Accounts that look like one person {'match like any two' if match else 'do not match'}."
    )


def _run(home: Home, act: Callable[[Connection], Awaitable[_T]]) -> _T:
    return operate(home, act, name="automatch-duplicates")
