"""`automatch duplicates`: accounts that look like the same person, and the operator's decisions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from automatch.cli.options import Home, Json, Limit
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.output.tables import make_table, or_dash, stdout_console, utc
from automatch.cli.runtime.db_session import audit_actor, run_in_db_session
from automatch.http.responses.admin import DuplicatesResponse, MatchingResponse
from automatch.model.matches import DuplicateState
from automatch.services.operators import load_duplicates_overview, set_duplicate_matching
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

    overview = _run(home, lambda conn: load_duplicates_overview(conn, only, limit))
    found = DuplicatesResponse.from_overview(overview)
    if as_json:
        echo_json(found.model_dump(mode="json"))
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
    wanted = None if switch is None else switch is _Switch.ON
    match = _run(home, lambda conn: set_duplicate_matching(conn, audit_actor(), wanted))
    if as_json:
        echo_json(MatchingResponse(match=match).model_dump(mode="json"), indent=None)
    else:
        echo(_matching(match))


def _decide(home: Home, pair_id: UUID, state: DuplicateState) -> None:
    _run(home, lambda conn: duplicates.decide(conn, audit_actor(), pair_id, state))
    echo(f"The pair is {state.value}.")


def _print(found: DuplicatesResponse) -> None:
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
    echo(_matching(found.match))


def _matching(match: bool) -> str:
    return (
        "Accounts that look like the same person "
        f"{'match like any two people' if match else 'do not match'}."
    )


def _run(home: Home, act: Callable[[Connection], Awaitable[_T]]) -> _T:
    return run_in_db_session(home, act, name="automatch-duplicates")
