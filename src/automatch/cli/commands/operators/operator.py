"""`automatch operator`: who may do what with people and photos."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from automatch.cli.options import Home, Json, Person, Yes
from automatch.cli.output.echo import confirmed, echo, echo_json
from automatch.cli.output.tables import Table, or_dash, print_tables, utc
from automatch.cli.runtime.db_session import OperatorSession, run_as_operator
from automatch.model.operators import OperatorRole

app = typer.Typer(
    help="People who run the installation, and their roles. A viewer looks, a moderator freezes, "
    "an operator erases, an owner gives roles; each may do what those before may.\n\n"
    "Example: `automatch operator add linh@example.org --role owner`",
    no_args_is_help=True,
)
_NAME = "automatch-operator"

NewRole = Annotated[OperatorRole, typer.Option("--role", help="What they may do.")]


@app.command("list")
def list_operators(home: Home = None, as_json: Json = False) -> None:
    """List the operators, owners first.

    Example: `automatch operator list`
    """
    from automatch.services.operators import roles

    found = run_as_operator(
        home, lambda session: roles.list_operators(session.db, session.operator), name=_NAME
    )
    if as_json:
        echo_json([asdict(person) for person in found])
        return
    columns = ("id", "e-mail", "name", "role", "since (UTC)")
    rows = [
        (person.id, or_dash(person.email), or_dash(person.name), person.role, utc(person.since))
        for person in found
    ]
    print_tables(
        Table(
            columns,
            rows,
            optional_columns=("name", "since (UTC)"),
            if_empty="Nobody yet. Make yourself the owner: "
            "`automatch operator add you@example.org --role owner`.",
        )
    )


@app.command()
def add(
    email: Annotated[str, typer.Argument(metavar="ADDRESS", help="E-mail address of the person.")],
    role: NewRole = OperatorRole.VIEWER,
    home: Home = None,
) -> None:
    """Make somebody an operator; the account is made if there is none.

    Anybody can sign up with an address. So an old password and all sessions end, and a link for a
    new one is mailed to the address; without a mail server it is printed, for you to hand over.

    Example: `automatch operator add linh@example.org --role owner`
    """
    from automatch.services.operators.roles import add_operator

    added = run_as_operator(
        home,
        lambda session: add_operator(session.db, session.operator, email, role, session.links),
        name=_NAME,
    )
    is_now = f"{email} is {role}; the console is at /admin of the site."
    if added.mail is None:
        echo(f"{is_now} They choose a password by the link that is mailed to them.")
    else:
        echo(f"{is_now} An old password has ended. Hand this over to them:\n", err=True)
        echo(added.mail.text)


@app.command("role")
def change_role(
    person: Person,
    role: Annotated[OperatorRole, typer.Argument(help="The new role.")],
    home: Home = None,
) -> None:
    """Give an operator another role. The last owner stays one.

    Example: `automatch operator role linh@example.org moderator`
    """
    _change(home, person, role, yes=True)
    echo(f"{person} is {role} now.")


@app.command()
def remove(person: Person, yes: Yes = False, home: Home = None) -> None:
    """Take somebody's role away; the account stays. The last owner cannot be removed.

    Example: `automatch operator remove linh@example.org`
    """
    _change(home, person, None, yes=yes)
    echo(f"{person} is no operator any more.")


def _change(home: Home, person: str, role: OperatorRole | None, *, yes: bool) -> None:
    from automatch.services.operators import roles
    from automatch.services.people import people

    async def act(session: OperatorSession) -> None:
        person_id = await people.find_id(session.db, person)
        if not confirmed(f"Take the role of {person} away?", yes=yes):
            raise typer.Exit(1)
        await roles.change_role(session.db, session.operator, person_id, role)

    run_as_operator(home, act, name=_NAME)
