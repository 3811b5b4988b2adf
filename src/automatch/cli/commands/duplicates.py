"""`automatch duplicates`: accounts that look like the same person, and the operator's decisions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from automatch.cli.options import Home, Json, Limit
from automatch.cli.output.tables import make_table, or_dash, stdout_console, utc
from automatch.cli.runtime.db_session import audit_actor, run_in_db_session
from automatch.http.routes.admin_duplicates import DuplicatesShown, MatchingForm
from automatch.model.matches import DuplicateState
from automatch.store import duplicates
from automatch.store.database import Connection

_T = TypeVar("_T")

app = typer.Typer(
    help="Accounts that look like the same person. Workers find them while no photo is waiting; "
    "you decide. Decisions are recorded in the audit log.",
    no_args_is_help=True,
)

PairId = Annotated[UUID, typer.Argument(metavar="ID", help="The pair, as `list` shows it.")]


class _StateFilter(StrEnum):
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
    state: Annotated[_StateFilter, typer.Option(help="Only this state.")] = _StateFilter.OPEN,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List pairs of accounts, closest first. A smaller distance u means more certainty.

    Example: `automatch duplicates list --state all`
    """
    only = None if state is _StateFilter.ALL else DuplicateState(state.value)

    async def load(conn: Connection) -> DuplicatesShown:
        return DuplicatesShown(
            duplicates=await duplicates.list_duplicates(conn, only, limit),
            match=await duplicates.is_matching(conn),
        )

    found = _run(home, load)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        _print(found)


@app.command()
def confirm(pair_id: PairId, home: Home = None) -> None:
    """Decide that the two accounts are the same person.

    Example: `automatch duplicates confirm 3f0c...`
    """
    _decide(home, pair_id, DuplicateState.CONFIRMED)


@app.command()
def dismiss(pair_id: PairId, home: Home = None) -> None:
    """Decide that they are two people, such as twins. They match again, whatever `matching` says.

    Example: `automatch duplicates dismiss 3f0c...`
    """
    _decide(home, pair_id, DuplicateState.DISMISSED)


@app.command()
def reopen(pair_id: PairId, home: Home = None) -> None:
    """Revoke a decision.

    Example: `automatch duplicates reopen 3f0c...`
    """
    _decide(home, pair_id, DuplicateState.OPEN)


@app.command()
def matching(
    switch: Annotated[
        _Switch | None, typer.Argument(metavar="[on|off]", help="Default: show the setting.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show or set whether two accounts that look like the same person match (default: on).

    `off` removes their matches from both feeds at once, except for dismissed pairs.

    Example: `automatch duplicates matching off`
    """

    async def change(conn: Connection) -> bool:
        if switch is not None:
            await duplicates.set_matching(conn, audit_actor(), switch is _Switch.ON)
        return await duplicates.is_matching(conn)

    match = _run(home, change)
    if as_json:
        typer.echo(MatchingForm(match=match).model_dump_json())
    else:
        typer.echo(_matching(match))


def _decide(home: Home, pair_id: UUID, state: DuplicateState) -> None:
    _run(home, lambda conn: duplicates.decide(conn, audit_actor(), pair_id, state))
    typer.echo(f"The pair is {state.value}.")


def _print(found: DuplicatesShown) -> None:
    columns = ("pair", "account", "other account", "u", "state", "found (UTC)", "decided by")
    rows = (
        (
            pair.id,
            pair.profile_a_id,
            pair.profile_b_id,
            f"{pair.u:.3f}",
            pair.state.value,
            utc(pair.found_at),
            or_dash(pair.decided_by),
        )
        for pair in found.duplicates
    )
    table = make_table(columns, rows, unbroken="pair")
    stdout_console().print(table if found.duplicates else "No such pair.")
    typer.echo(_matching(found.match))


def _matching(match: bool) -> str:
    return (
        "Accounts that look like the same person "
        f"{'match like any two people' if match else 'do not match'}."
    )


def _run(home: Home, act: Callable[[Connection], Awaitable[_T]]) -> _T:
    return run_in_db_session(home, act, name="automatch-duplicates")
