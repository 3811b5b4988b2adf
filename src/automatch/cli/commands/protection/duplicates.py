"""`automatch duplicates`: accounts that look like the same person, and the operator's decisions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

from automatch.cli.options import Home, Json, Limit
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.output.tables import Table, note, or_dash, print_tables, utc
from automatch.cli.runtime.db_session import OperatorSession, run_as_operator
from automatch.model.matches import DuplicateState

if TYPE_CHECKING:
    from automatch.services.protection.duplicates import DuplicatesOverview

_T = TypeVar("_T")

app = typer.Typer(
    help="Accounts that look like the same person. Workers find them while no photo is waiting; "
    "you decide. Decisions are recorded in the audit log.\n\n"
    "Example: `automatch duplicates list`",
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
    from automatch.services.protection.duplicates import load_duplicates_overview

    only = None if state is _StateFilter.ALL else DuplicateState(state.value)
    found = _run(home, lambda me: load_duplicates_overview(me.db, me.operator, only, limit))
    if as_json:
        from automatch.http.responses.admin import DuplicatesResponse

        echo_json(DuplicatesResponse.from_overview(found).model_dump(mode="json"))
    else:
        print_pairs(found)


@app.command()
def show(pair_id: PairId, home: Home = None, as_json: Json = False) -> None:
    """Show one pair, and the photos that wait for your decision.

    Example: `automatch duplicates show 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    from automatch.services.protection.duplicates import load_duplicate

    pair = _run(home, lambda me: load_duplicate(me.db, me.operator, pair_id))
    if as_json:
        from pydantic import TypeAdapter

        from automatch.model.matches import SuspectedDuplicate

        echo_json(TypeAdapter(SuspectedDuplicate).dump_python(pair, mode="json"))
        return
    echo(f"account        {pair.profile_a_id}")
    echo(f"other account  {pair.profile_b_id}")
    echo(f"distance u     {pair.u:.3f}, of {'one gender' if pair.same_gender else 'two genders'}")
    echo(f"state          {pair.state.value}")
    for face_id in pair.held_face_ids:
        echo(f"waiting photo  {face_id}")
    echo("to look        automatch photos show ACCOUNT --out FILE --reason ...")
    if pair.held_face_ids:
        note(
            "A waiting photo was the first of its account and looks like the other account's "
            "person. `dismiss` lets it be found and searched for; `confirm` keeps it waiting."
        )


@app.command()
def confirm(pair_id: PairId, home: Home = None) -> None:
    """Decide that the two accounts are the same person. A photo that waits goes on waiting.

    Example: `automatch duplicates confirm 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    _decide(home, pair_id, DuplicateState.CONFIRMED)


@app.command()
def dismiss(pair_id: PairId, home: Home = None) -> None:
    """Decide that they are two people, such as twins. They match again, whatever `matching` says.

    A photo that waited for this is found and searched for. The decision lasts as long as both
    accounts have a photo.

    Example: `automatch duplicates dismiss 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    _decide(home, pair_id, DuplicateState.DISMISSED)


@app.command()
def reopen(pair_id: PairId, home: Home = None) -> None:
    """Revoke a decision.

    Example: `automatch duplicates reopen 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    _decide(home, pair_id, DuplicateState.OPEN)


@app.command()
def matching(
    switch: Annotated[
        _Switch | None, typer.Argument(metavar="on|off", help="Default: show the setting.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show or set whether the accounts of a pair match (default: on).

    `off` removes their matches from both feeds at once, except for dismissed pairs.

    Example: `automatch duplicates matching off`
    """
    from automatch.services.protection.duplicates import set_duplicate_matching
    from automatch.store.protection import duplicates

    async def act(me: OperatorSession) -> bool:
        if switch is not None:
            await set_duplicate_matching(me.db, me.operator, switch is _Switch.ON)
        async with me.db.connection() as conn:
            return await duplicates.is_matching(conn)

    match = _run(home, act)
    if as_json:
        echo_json({"match": match}, indent=None)
    else:
        echo(_matching(match))


def _decide(home: Home, pair_id: UUID, state: DuplicateState) -> None:
    from automatch.services.protection.duplicates import decide_duplicate

    _run(home, lambda me: decide_duplicate(me.db, me.operator, pair_id, state))
    echo(f"The pair is {state.value}.")


def print_pairs(found: DuplicatesOverview) -> None:
    """Print one line per pair, and whether such pairs match."""
    columns = (
        "pair",
        "account",
        "other account",
        "u",
        "state",
        "waiting",
        "found (UTC)",
        "decided by",
    )
    rows = [
        (
            pair.id,
            pair.profile_a_id,
            pair.profile_b_id,
            f"{pair.u:.3f}",
            pair.state.value,
            str(len(pair.held_face_ids) or "-"),
            utc(pair.found_at),
            or_dash(pair.decided_by),
        )
        for pair in found.duplicates
    ]
    print_tables(Table(columns, rows, if_empty="No such pair."))
    note(f"{_matching(found.match)}")


def _matching(match: bool) -> str:
    return (
        "Accounts that look like the same person "
        f"{'match like any two people' if match else 'do not match'}."
    )


def _run(home: Home, act: Callable[[OperatorSession], Awaitable[_T]]) -> _T:
    return run_as_operator(home, act, name="automatch-duplicates")
