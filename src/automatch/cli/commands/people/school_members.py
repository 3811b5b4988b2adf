"""`automatch school`: who belongs to a school, by invitations and requests."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

from automatch.cli.options import Home, Json, Limit, Person
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.runtime.db_session import OperatorSession, run_as_operator

if TYPE_CHECKING:
    from automatch.model.schools import MembershipRequest, School

_T = TypeVar("_T")

Name = Annotated[str, typer.Argument(metavar="SCHOOL", help="The school, in any spelling of it.")]
OnlySchool = Annotated[
    str | None, typer.Argument(metavar="[SCHOOL]", help="Only this school.", show_default=False)
]


def invite(
    school: Name,
    *,
    uses: Annotated[
        int | None, typer.Option(min=1, help="How many people may use it.", show_default="any")
    ] = None,
    single: Annotated[bool, typer.Option("--single", help="Only one person may use it.")] = False,
    expires: Annotated[str, typer.Option(help="How long it works, such as 12h or 30d.")] = "30d",
    home: Home = None,
) -> None:
    """Print a new code and its link for new members.

    It is shown once: only a hash of it is kept.

    Example: `automatch school invite UIT --uses 40 --expires 30d`
    """
    from automatch.cli.runtime.logging_setup import load_settings_and_logging
    from automatch.services.people import schools
    from automatch.settings.server_address import find_server_url

    life = _parse_life(expires)
    server = find_server_url(load_settings_and_logging(home=home))
    code = run(
        home,
        lambda me: schools.invite(
            me.db, me.operator, school, max_uses=1 if single else uses, life=life
        ),
    )
    echo(f"Code: {code}")
    echo(f"Link: {server}/join/{code}")


def invitations(school: OnlySchool = None, home: Home = None, as_json: Json = False) -> None:
    """List the invitations that work, without their codes.

    Example: `automatch school invitations UIT`
    """
    from automatch.cli.output.tables import Table, print_tables, utc
    from automatch.services.people import schools

    found = run(home, lambda me: schools.list_invitations(me.db, school))
    if as_json:
        echo_json([asdict(each) for each in found])
        return
    columns = ("id", "school", "used", "expires (UTC)", "made by")
    rows = [
        (
            each.id,
            each.school,
            f"{each.uses} of {each.max_uses or 'any'}",
            utc(each.expires_at),
            each.created_by,
        )
        for each in found
    ]
    print_tables(Table(columns, rows, if_empty="No invitation works."))


def end_invitation(
    invitation: Annotated[
        UUID, typer.Argument(metavar="ID", help="The invitation, as `invitations` shows it.")
    ],
    home: Home = None,
) -> None:
    """End an invitation; whoever became a member by it stays one.

    Example: `automatch school end-invitation 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    from automatch.services.people import schools

    run(home, lambda me: schools.end_invitation(me.db, me.operator, invitation))
    echo("The code does not work any more.")


def requests(
    school: OnlySchool = None, home: Home = None, limit: Limit = 50, as_json: Json = False
) -> None:
    """List the people who ask to be let in.

    Example: `automatch school requests`
    """
    from automatch.cli.output.tables import Table, or_dash, print_tables, utc
    from automatch.services.people import schools

    found = run(home, lambda me: schools.list_requests(me.db, me.operator, school, limit))
    if as_json:
        echo_json([renamed(each, profile_id="person") for each in found])
        return
    columns = ("person", "school", "e-mail", "name", "asked (UTC)", "message")
    rows = [
        (
            each.profile_id,
            each.school,
            or_dash(each.email),
            or_dash(each.name),
            utc(each.requested_at),
            each.message,
        )
        for each in found
    ]
    print_tables(Table(columns, rows, wrapped_column="message", if_empty="Nobody asks."))


def approve(person: Person, home: Home = None) -> None:
    """Make somebody who asked a member of their school. They get a mail.

    Example: `automatch school approve linh@example.org`
    """
    _decide(home, person, None)
    echo("They belong to their school now.")


def refuse(
    person: Person,
    reason: Annotated[str, typer.Option(help="What the person will read on their page.")],
    home: Home = None,
) -> None:
    """Turn a request down. They get a mail, and can ask again.

    Example: `automatch school refuse linh@example.org --reason "Not enrolled"`
    """
    _decide(home, person, reason)
    echo("The request is turned down.")


def _decide(home: Home, person: str, reason: str | None) -> None:
    from automatch.services.people import schools
    from automatch.services.people.people import find_id

    async def act(me: OperatorSession) -> None:
        person_id = await find_id(me.db, person)
        await schools.decide_request(me.db, me.operator, person_id, reason=reason)

    run(home, act)


def renamed(value: School | MembershipRequest, **names: str) -> dict[str, object]:
    """Return the fields of *value* for JSON, some under other names."""
    return {names.get(name, name): field for name, field in asdict(value).items()}


def _parse_life(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9]\d{0,3})([hd])", text.strip())
    if found is None:
        raise typer.BadParameter("Say how long as 12h or 30d.", param_hint="--expires")
    count = int(found[1])
    return timedelta(hours=count) if found[2] == "h" else timedelta(days=count)


def run(home: Home, act: Callable[[OperatorSession], Awaitable[_T]]) -> _T:
    """Run an act of the operator who typed the command."""
    return run_as_operator(home, act, name="automatch-school")
