"""`automatch school`: the list of schools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.commands.people import school_members
from automatch.cli.commands.people.school_members import Name, renamed, run
from automatch.cli.options import Home, Json, Yes
from automatch.cli.output.echo import confirmed, echo, echo_json
from automatch.cli.runtime.db_session import OperatorSession

if TYPE_CHECKING:
    from automatch.model.schools import School

app = typer.Typer(
    help="The schools that people choose from, and who belongs to them. A proof is a confirmed "
    "e-mail address, an invitation or your approval. Changes are recorded in the audit log.\n\n"
    "Example: `automatch school add UIT --domain uit.edu.vn`",
    no_args_is_help=True,
)

Domains = Annotated[
    list[str] | None,
    typer.Option(
        "--domain",
        help="Mail domain whose confirmed addresses are a proof; exactly it, not those below it.",
    ),
]
Aliases = Annotated[list[str] | None, typer.Option("--alias", help="Another name for it.")]


@app.command("list")
def list_schools(home: Home = None, as_json: Json = False) -> None:
    """List the schools with the number of their people.

    Example: `automatch school list`
    """
    from automatch.services.people import schools

    found = run(home, lambda me: schools.list_schools(me.db))
    if as_json:
        echo_json([renamed(school, is_open="open") for school in found])
        return
    from automatch.cli.output.tables import Table, print_tables

    columns = ("school", "proof", "people", "members", "requests", "also called")
    rows = [
        (
            school.name,
            _proofs(school),
            school.people,
            school.members,
            school.requests,
            ", ".join(school.aliases) or "-",
        )
        for school in found
    ]
    print_tables(
        Table(
            columns,
            rows,
            wrapped_column="also called",
            if_empty="No school yet; `automatch school add NAME` adds one.",
        )
    )


@app.command()
def show(school: Name, home: Home = None, as_json: Json = False) -> None:
    """Show one school.

    Example: `automatch school show UIT`
    """
    from automatch.services.people import schools

    [found] = run(home, lambda me: schools.list_schools(me.db, school))
    if as_json:
        echo_json(renamed(found, is_open="open"))
        return
    from automatch.cli.output.tables import Table, print_tables, utc

    fields: dict[str, object] = {
        "school": found.name,
        "also called": ", ".join(found.aliases) or "-",
        "open to all": "yes" if found.is_open else "no",
        "mail domains": ", ".join(found.domains) or "-",
        "people": found.people,
        "members": found.members,
        "can be found": f"{found.findable} ({found.findable_percent}%)",
        "requests that wait": found.requests,
        "invitations that work": found.invitations,
        "added (UTC)": utc(found.created_at),
    }
    print_tables(Table.of_fields(fields))


@app.command()
def add(
    school: Annotated[str, typer.Argument(metavar="NAME", help="Its name, as people will see it.")],
    *,
    domain: Domains = None,
    alias: Aliases = None,
    is_open: Annotated[
        bool, typer.Option("--open", help="Everybody who names it belongs to it, without a proof.")
    ] = False,
    home: Home = None,
) -> None:
    """Put a school on the list.

    Without --open its people need a proof: an address at --domain, an invitation, or your approval.

    Example: `automatch school add "UIT" --domain uit.edu.vn --alias "Đại học Công nghệ Thông tin"`
    """
    from automatch.services.people import schools

    run(
        home,
        lambda me: schools.add_school(
            me.db,
            me.operator,
            school,
            domains=domain or [],
            aliases=alias or [],
            is_open=is_open,
        ),
    )
    echo(f"{school} is on the list.")
    if is_open:
        echo(
            "It is open: anybody who names it sees its people. `automatch school close` ends that."
        )


@app.command()
def edit(
    school: Name,
    *,
    domain: Domains = None,
    alias: Aliases = None,
    without_domain: Annotated[
        list[str] | None, typer.Option(help="Mail domain to drop; its members leave with it.")
    ] = None,
    without_alias: Annotated[list[str] | None, typer.Option(help="Alias to drop.")] = None,
    home: Home = None,
) -> None:
    """Add or drop mail domains and aliases.

    Example: `automatch school edit UIT --domain gm.uit.edu.vn --without-domain uit.edu.vn`
    """
    from automatch.services.people import schools

    run(
        home,
        lambda me: schools.change_school(
            me.db,
            me.operator,
            school,
            domains=domain or [],
            aliases=alias or [],
            dropped_domains=without_domain or [],
            dropped_aliases=without_alias or [],
        ),
    )
    show(school, home)


@app.command()
def rename(
    school: Name,
    name: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    home: Home = None,
) -> None:
    """Rename a school everywhere. Its old name becomes an alias; nobody is searched for again.

    Example: `automatch school rename UIT "UIT Thủ Đức"`
    """
    from automatch.services.people import schools

    people = run(home, lambda me: schools.rename_school(me.db, me.operator, school, name))
    echo(f"The school is called {name} now; people: {people}.")


@app.command()
def merge(
    school: Annotated[str, typer.Argument(metavar="SCHOOL", help="The school that ends.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="The school it becomes part of.")],
    yes: Yes = False,
    home: Home = None,
) -> None:
    """Make one school of two. Its people and proofs move, and they are searched for there.

    It cannot be undone. One that was interrupted goes on when started again.

    Example: `automatch school merge "Uni of IT" UIT`
    """
    from automatch.services.people import schools

    async def merge_all(me: OperatorSession) -> int:
        [first] = await schools.list_schools(me.db, school)
        [second] = await schools.list_schools(me.db, into)
        question = f"Move {first.people} people of {first.name} to {second.name}"
        if first.is_open and not second.is_open:
            question += f", where {first.people - first.members} of them still need a proof"
        if not confirmed(f"{question}?", yes=yes):
            raise typer.Exit(1)
        return await schools.merge_schools(me.db, me.operator, school, into)

    moved = run(home, merge_all)
    echo(f"{school} is part of {into} now; people moved: {moved}.")


@app.command("open")
def open_school(school: Name, yes: Yes = False, home: Home = None) -> None:
    """Let everybody in who names the school.

    They see its people without a proof, and are seen.

    Example: `automatch school open UIT`
    """
    _set_open(home, school, is_open=True, yes=yes)


@app.command()
def close(school: Name, yes: Yes = False, home: Home = None) -> None:
    """Ask for a proof. Who has none is not found any more, and sees nobody.

    Example: `automatch school close UIT`
    """
    _set_open(home, school, is_open=False, yes=yes)


@app.command()
def remove(school: Name, yes: Yes = False, home: Home = None) -> None:
    """Take a school off the list that nobody names.

    Example: `automatch school remove "Uni of IT"`
    """
    from automatch.services.people import schools

    async def act(me: OperatorSession) -> None:
        if not confirmed(f"Take {school} off the list, with its invitations?", yes=yes):
            raise typer.Exit(1)
        await schools.remove_school(me.db, me.operator, school)

    run(home, act)
    echo(f"{school} is off the list.")


for _of_members in (
    school_members.invite,
    school_members.invitations,
    school_members.end_invitation,
    school_members.requests,
    school_members.approve,
    school_members.refuse,
):
    app.command()(_of_members)


def _set_open(home: Home, school: str, *, is_open: bool, yes: bool) -> None:
    from automatch.services.people import schools

    async def change(me: OperatorSession) -> str:
        [found] = await schools.list_schools(me.db, school)
        others = found.people - found.members
        question = (
            f"Let everybody who names {found.name} see its people without a proof"
            if is_open
            else f"Let only the {found.members} members of {found.name} find each other; "
            f"{others} others need a proof first"
        )
        if found.is_open != is_open and not confirmed(f"{question}?", yes=yes):
            raise typer.Exit(1)
        await schools.set_open(me.db, me.operator, school, is_open=is_open)
        return found.name

    name = run(home, change)
    echo(f"{name} is {'open: nobody needs a proof' if is_open else 'closed: people need a proof'}.")


def _proofs(school: School) -> str:
    if school.is_open:
        return "none: open"
    return ", ".join([*(f"@{domain}" for domain in school.domains), "invitation", "approval"])
