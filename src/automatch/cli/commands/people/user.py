"""`automatch user`: help a person, or act on an account, with a row in the audit log for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from automatch.cli.options import Home, Json, Limit, Person, Reason, Receipt, Yes
from automatch.cli.output.echo import confirmed, echo, echo_json
from automatch.cli.output.new_file import new_file, write_receipt
from automatch.cli.output.tables import Table, or_dash, print_tables, utc
from automatch.cli.runtime.db_session import OperatorSession, run_as_operator
from automatch.errors.request import InputInvalidError
from automatch.model.people import Gender

if TYPE_CHECKING:
    from uuid import UUID

    from automatch.mail.message import MailText
    from automatch.model.people import PersonDetails

_T = TypeVar("_T")

app = typer.Typer(
    help="People: find them, help them, erase them. Every look and act is recorded in the audit "
    "log.\n\n"
    "Example: `automatch user find linh@example.org`",
    no_args_is_help=True,
)


@app.command("find")
def find_people(
    query: Annotated[str, typer.Argument(help="An id, or a part of a name or an address.")],
    home: Home = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """Find people by name, e-mail address or id.

    Example: `automatch user find linh`
    """
    from automatch.services.people import people

    found = run_as_operator(
        home,
        lambda session: people.find_people(session.db, session.operator, query, limit),
        name="automatch-user",
    )
    if as_json:
        echo_json([asdict(person) for person in found])
        return
    columns = ("id", "e-mail", "name", "school", "since (UTC)")
    rows = [
        (
            person.id,
            or_dash(person.email),
            or_dash(person.name),
            or_dash(person.school),
            utc(person.created_at),
        )
        for person in found
    ]
    optional = ("since (UTC)", "school")
    print_tables(Table(columns, rows, optional_columns=optional, if_empty="Nobody like that."))


@app.command()
def show(person: Person, home: Home = None, as_json: Json = False) -> None:
    """Show what it takes to help somebody. Neither photos nor templates are shown.

    Example: `automatch user show linh@example.org`
    """
    from automatch.services.people import people

    found = _run(
        home,
        person,
        lambda session, person_id: people.show_person(session.db, session.operator, person_id),
    )
    if as_json:
        echo_json(asdict(found))
    else:
        print_tables(Table.of_fields(_fields(found)))


@app.command()
def sessions(
    person: Person,
    home: Home = None,
    end: Annotated[bool, typer.Option("--end", help="Sign the person out everywhere.")] = False,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """List where somebody is signed in, or sign them out everywhere.

    Example: `automatch user sessions linh@example.org --end --reason "lost her phone"`
    """
    from automatch.services.people import people

    if end:
        count = _run(
            home,
            person,
            lambda session, person_id: people.end_sessions(
                session.db, session.operator, person_id, session.links, reason
            ),
        )
        if as_json:
            echo_json({"ended": count}, indent=None)
        else:
            echo(f"Sessions ended: {count}.")
        return
    found = _run(
        home,
        person,
        lambda session, person_id: people.list_sessions(
            session.db, session.operator, person_id, session.links
        ),
    )
    if as_json:
        echo_json([asdict(session) for session in found])
        return
    columns = ("session", "since (UTC)", "last renewed (UTC)", "who")
    rows = [
        (
            session.id,
            utc(session.created_at),
            utc(session.refreshed_at),
            "an operator" if session.by_operator else "the person",
        )
        for session in found
    ]
    print_tables(Table(columns, rows, if_empty="Not signed in anywhere."))


@app.command()
def freeze(
    person: Person,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the audit log.")],
    home: Home = None,
) -> None:
    """Let somebody find nobody and be found by nobody. Nothing is erased.

    Example: `automatch user freeze linh@example.org --reason "case 12"`
    """
    from automatch.services.people import people

    _run(
        home,
        person,
        lambda session, person_id: people.freeze_person(
            session.db, session.operator, person_id, reason
        ),
    )
    echo(f"{person} finds nobody and is found by nobody.")


@app.command()
def unfreeze(person: Person, home: Home = None, reason: Reason = None) -> None:
    """Let somebody who was frozen take part again.

    Example: `automatch user unfreeze linh@example.org`
    """
    from automatch.services.people import people

    _run(
        home,
        person,
        lambda session, person_id: people.unfreeze_person(
            session.db, session.operator, person_id, reason
        ),
    )
    echo(f"{person} takes part again.")


@app.command()
def edit(
    person: Person,
    *,
    school: Annotated[
        str | None, typer.Option(help="Their new school; they become a member of it.")
    ] = None,
    gender: Annotated[Gender | None, typer.Option(help="What they declare.")] = None,
    yes: Yes = False,
    home: Home = None,
) -> None:
    """Change school or gender of somebody who cannot do it themselves.

    It counts for nothing, and their photos are searched for again at once.

    Example: `automatch user edit linh@example.org --school UIT`
    """
    from automatch.services.people import schools

    if school is None and gender is None:
        raise InputInvalidError("Give --school, --gender or both.")

    async def act(session: OperatorSession, person_id: UUID) -> None:
        new = " and ".join(filter(None, (school, gender)))
        if not confirmed(f"Change {person} to {new}, and search for them again?", yes=yes):
            raise typer.Exit(1)
        await schools.change_person(
            session.db, session.operator, person_id, school=school, gender=gender
        )

    _run(home, person, act)
    echo(f"{person} is changed, and searched for again.")


@app.command()
def reset(person: Person, home: Home = None, reason: Reason = None) -> None:
    """Mail somebody a link to choose a new password.

    Without a mail server it is printed. The old password works until a new one is chosen. Make sure
    that it is really them before you hand a link over: it lets whoever has it into the account.

    Example: `automatch user reset linh@example.org`
    """
    from automatch.services.people import people

    mail = _run(
        home,
        person,
        lambda session, person_id: people.reset_password(
            session.db, session.operator, person_id, session.links, reason
        ),
    )
    _print_mail(mail, person)


@app.command()
def invite(person: Person, home: Home = None) -> None:
    """Mail somebody who was imported a link to their account.

    It lets them choose a password and works for seven days. Without a mail server it is printed.
    Later invitations do not end earlier ones.

    Example: `automatch user invite linh@example.org`
    """
    from automatch.services.people import people

    mail = _run(
        home,
        person,
        lambda session, person_id: people.invite_person(
            session.db, session.operator, person_id, session.links
        ),
    )
    _print_mail(mail, person)


@app.command()
def export(
    person: Person,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ZIP to write; a new file.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the audit log.")],
    home: Home = None,
) -> None:
    """Write everything about somebody into a ZIP, to hand over to them.

    It is for that person alone: it has all their photos. They can also download it themselves.

    Example: `automatch user export linh@example.org linh.zip --reason "asked by letter"`
    """

    async def act(session: OperatorSession, person_id: UUID) -> None:
        from automatch.photos.make import make_photos
        from automatch.services.people import people

        with new_file(file) as out:
            parts = await people.export_person(
                session.db, session.operator, person_id, make_photos(session.settings), reason
            )
            async for part in parts:
                out.write(part)

    _run(home, person, act)
    echo(f"Written to {file}.")


@app.command()
def erase(
    person: Person,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the audit log.")],
    home: Home = None,
    receipt: Receipt = None,
    yes: Yes = False,
) -> None:
    """Erase somebody with all photos, templates and matches. This cannot be undone.

    Example: `automatch user erase linh@example.org --reason "asked for it by letter"`
    """
    from automatch.services.people import people

    async def act(session: OperatorSession, person_id: UUID) -> None:
        question = f"Erase {person} with all photos and matches? This cannot be undone."
        if not confirmed(question, yes=yes):
            raise typer.Exit(1)
        erasure = people.erase_person(
            session.db, session.operator, person_id, reason, session.erasing
        )
        await write_receipt(receipt, erasure)

    _run(home, person, act)
    echo("Erased, with the files of all photos that could be deleted now.")


def _run(
    home: Home,
    person: str,
    act: Callable[[OperatorSession, UUID], Awaitable[_T]],
) -> _T:
    from automatch.services.people.people import find_id

    async def found(session: OperatorSession) -> _T:
        return await act(session, await find_id(session.db, person))

    return run_as_operator(home, found, name="automatch-user")


def _print_mail(mail: MailText | None, person: str) -> None:
    if mail is None:
        echo(f"The link is on its way to {person}.")
    else:
        echo("No mail server is set. Hand this over:\n", err=True)
        echo(mail.text)


def _fields(person: PersonDetails) -> dict[str, object]:
    consent = "given" if person.consents else "withdrawn" if person.consent_at else "never given"
    if person.consent_at is not None:
        consent += f" {utc(person.consent_at)} UTC (text {person.consent_version})"
    return {
        "id": person.id,
        "e-mail": or_dash(person.email),
        "name": or_dash(person.name),
        "school": or_dash(person.school),
        "gender": or_dash(person.gender),
        "account": "simulated" if person.simulated else "imported" if person.imported else "own",
        "made (UTC)": utc(person.created_at),
        "last signed in (UTC)": utc(person.last_sign_in_at),
        "sessions": person.sessions,
        "role": or_dash(person.operator_role),
        "takes part": _takes_part(person),
        "member of": or_dash(", ".join(person.memberships)),
        "consent": consent,
        "photos": person.photos,
        "matches": person.matches,
        "jobs": f"{person.jobs_waiting} waiting, {person.jobs_failed} failed",
        "duplicates to decide": person.suspected_duplicates,
    }


def _takes_part(person: PersonDetails) -> str:
    if person.frozen_at is not None:
        return f"no, frozen {utc(person.frozen_at)} UTC: {person.frozen_reason}"
    if not person.admitted:
        return "no, not shown to belong to the school"
    return "yes" if person.discoverable else "yes, hidden by themselves"
