"""`automatch case`: reports and take-down requests, and what an operator decides about them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

from automatch.cli.options import Home, Json, Limit, Receipt, Yes
from automatch.cli.output.echo import confirmed, echo, echo_json
from automatch.cli.output.new_file import new_file, write_receipt
from automatch.cli.runtime.db_session import OperatorSession, run_as_operator
from automatch.model.cases import CaseAct, CaseSide, CaseState

if TYPE_CHECKING:
    from automatch.auth.addresses import AddressKey

_T = TypeVar("_T")

app = typer.Typer(
    help="Reports and take-down requests: look at them and decide. Every look and act is recorded "
    "in the audit log; docs/moderation.md says what to do with a report.\n\n"
    "Example: `automatch case list`",
    no_args_is_help=True,
)

CaseId = Annotated[UUID, typer.Argument(metavar="CASE", help="The case, as `list` shows it.")]
_OPTIONS = (
    "(`--face ID` names a photo, as `automatch case show` lists them; `--alone` decides an appeal "
    "against yourself.)"
)
Photo = Annotated[
    UUID | None,
    typer.Option(
        help="A photo of the person; default: the one that was reported, or the only one."
    ),
]
Alone = Annotated[
    bool,
    typer.Option("--alone", help="Decide an appeal against yourself: there is nobody else."),
]


class _StateFilter(StrEnum):
    UNDECIDED = "undecided"
    UNPROVEN = "unproven"
    OPEN = "open"
    WAITING = "waiting"
    DECIDED = "decided"


class _Side(StrEnum):
    REPORTER = "reporter"
    REPORTED = "reported"


@app.command("list")
def list_cases(
    home: Home = None,
    state: Annotated[_StateFilter, typer.Option(help="Only this state.")] = _StateFilter.UNDECIDED,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List cases, those still shown to others first.

    Example: `automatch case list`
    """
    from automatch.services.protection import cases

    only = None if state is _StateFilter.UNDECIDED else CaseState(state.value)
    found = _run(home, lambda session: cases.list_cases(session.db, session.operator, only, limit))
    if as_json:
        echo_json([asdict(case) for case in found])
    else:
        from automatch.cli.output.case_tables import print_cases

        print_cases(found)


@app.command()
def show(case_id: CaseId, home: Home = None, as_json: Json = False) -> None:
    """Show a case: the person, what was written and done.

    That you looked is recorded. Photos are not shown: `photo` gets one.

    Example: `automatch case show 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    from automatch.services.protection import cases

    file = _run(home, lambda session: cases.load_case(session.db, session.operator, case_id))
    if as_json:
        echo_json(
            {
                "case": asdict(file.details),
                "messages": [asdict(each) for each in file.messages],
                "viewers": [asdict(each) for each in file.viewers],
                "acts": [asdict(each) for each in file.records],
            }
        )
    else:
        from automatch.cli.output.case_tables import print_case

        print_case(file)


@app.command()
def photo(
    case_id: CaseId,
    out: Annotated[Path, typer.Option(help="The photo to write; a new file.")],
    reason: Annotated[str, typer.Option(help="Why you have to see it, for the audit log.")],
    face: Photo = None,
    home: Home = None,
) -> None:
    """Write a photo of the person to a file.

    The file is for you alone to read; delete it when you have decided.

    Example: `automatch case photo 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613 --out p.jpg --reason "..."`
    """
    from automatch.photos.make import make_photos
    from automatch.services.protection import cases

    async def write(session: OperatorSession) -> None:
        photos = make_photos(session.settings)
        with new_file(out) as file:
            file.write(
                await cases.load_case_photo(
                    session.db, session.operator, case_id, photos, reason=reason, face_id=face
                )
            )

    _run(home, write)
    echo(f"The photo is in {out}. Delete it when you have decided.")


@app.command()
def about(
    case_id: CaseId,
    subject: Annotated[UUID, typer.Argument(metavar="ID", help="Of a photo, or of a person.")],
    home: Home = None,
    reason: Annotated[
        str | None,
        typer.Option(help="Why the case is about somebody else than before; stays in the log."),
    ] = None,
) -> None:
    """Say which photo or person a case is about.

    For a take-down request that only describes the photo.

    Example: `automatch case about 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613 7d9e4c1a-2f0b-4e55-9c31-0a6d8b7f1e42`
    """  # noqa: E501  an example is one line
    from automatch.services.protection import cases

    _run(
        home,
        lambda session: cases.point_case(session.db, session.operator, case_id, subject, reason),
    )
    echo("The case is about it now.")


@app.command()
def hide(case_id: CaseId, face: Photo = None, home: Home = None, alone: Alone = False) -> None:
    """Hide the photo: it leaves all feeds at once.

    Its person is told and may appeal.

    Example: `automatch case hide 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    _decide(home, case_id, CaseAct.HIDE, "The photo is hidden.", face=face, alone=alone)


@app.command()
def unhide(case_id: CaseId, face: Photo = None, home: Home = None, alone: Alone = False) -> None:
    """Show a hidden photo again, and search for it.

    Example: `automatch case unhide 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    _decide(home, case_id, CaseAct.UNHIDE, "The photo is shown again.", face=face, alone=alone)


@app.command()
def freeze(case_id: CaseId, home: Home = None, alone: Alone = False) -> None:
    """Freeze the person: nobody finds them. Nothing is erased.

    Example: `automatch case freeze 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    _decide(home, case_id, CaseAct.FREEZE, "The person is frozen.", alone=alone)


@app.command()
def unfreeze(case_id: CaseId, home: Home = None, alone: Alone = False) -> None:
    """Undo a freeze.

    Example: `automatch case unfreeze 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    _decide(home, case_id, CaseAct.UNFREEZE, "The person is not frozen any more.", alone=alone)


@app.command()
def erase(
    case_id: CaseId,
    *,
    person: Annotated[bool, typer.Option("--person", help="The whole account.")] = False,
    face: Photo = None,
    home: Home = None,
    receipt: Receipt = None,
    yes: Yes = False,
    alone: Alone = False,
) -> None:
    """Erase the photo or, with --person, the account.

    Example: `automatch case erase 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613 --person`
    """
    if receipt is not None and not person:
        raise typer.BadParameter("there is a receipt only with --person.")
    what = "the account" if person else "the photo"
    act = CaseAct.ERASE_PERSON if person else CaseAct.ERASE_PHOTO
    question = None if yes else f"Erase {what}? This cannot be undone."
    sentence = f"{what.capitalize()} is erased."
    _decide(
        home, case_id, act, sentence, face=face, alone=alone, question=question, receipt=receipt
    )


@app.command()
def dismiss(case_id: CaseId, home: Home = None, alone: Alone = False) -> None:
    """Find nothing wrong, and show what the report has hidden.

    Example: `automatch case dismiss 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    _decide(home, case_id, CaseAct.DISMISS, "The case is dismissed.", alone=alone)


@app.command()
def close(case_id: CaseId, home: Home = None, alone: Alone = False) -> None:
    """Close a case. What is hidden stays hidden.

    Example: `automatch case close 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    _decide(home, case_id, CaseAct.CLOSE, "The case is closed.", alone=alone)


@app.command()
def answer(
    case_id: CaseId,
    text: Annotated[str, typer.Argument(help="What they read; no names.")],
    to: Annotated[_Side, typer.Option(help="Whom you write to.")],
    home: Home = None,
) -> None:
    """Write to one side of a case.

    They get a mail that says only that there is something to read.

    Example: `automatch case answer 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613 "Is it you?" --to reported`
    """
    _write(home, case_id, CaseSide(to.value), text)
    echo(f"The {to.value} can read it now.")


@app.command()
def note(
    case_id: CaseId,
    text: Annotated[str, typer.Argument(help="What other operators should know.")],
    home: Home = None,
) -> None:
    """Write a note that operators alone read.

    Example: `automatch case note 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613 "Called the office."`
    """
    _write(home, case_id, CaseSide.OPERATORS, text)
    echo("Noted.")


@app.command()
def ban(case_id: CaseId, home: Home = None, yes: Yes = False) -> None:
    """Freeze the person and refuse their address.

    It stays refused after `erase`. Only a keyed hash of the address is kept, nothing of the face.

    Example: `automatch case ban 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    from automatch.services.protection import cases

    async def act(session: OperatorSession) -> None:
        _check_confirmed(None if yes else "Ban this person's address?")
        await cases.ban(session.db, session.operator, case_id, _key(session))

    _run(home, act)
    echo("The person is frozen and their address is banned.")


@app.command()
def unban(
    case_id: Annotated[
        UUID | None, typer.Argument(metavar="CASE", help="The case.", show_default=False)
    ] = None,
    email: Annotated[
        str | None, typer.Option(help="The address, if you don't know the case.")
    ] = None,
    home: Home = None,
) -> None:
    """Lift a ban. The person stays frozen until `automatch case unfreeze`.

    Example: `automatch case unban --email linh@example.org`
    """
    from automatch.services.protection import cases

    if (case_id is None) == (email is None):
        raise typer.BadParameter("give a case or --email.")

    async def act(session: OperatorSession) -> tuple[UUID, bool]:
        case = case_id or await cases.find_ban(session.db, _key(session), email or "")
        return case, await cases.lift_ban(session.db, session.operator, case)

    case, is_frozen = _run(home, act)
    echo("The ban is lifted.")
    if is_frozen:
        echo(f"The person is still frozen: `automatch case unfreeze {case}`.")


def _decide(
    home: Home,
    case_id: UUID,
    act: CaseAct,
    sentence: str,
    *,
    face: UUID | None = None,
    alone: bool = False,
    question: str | None = None,
    receipt: Path | None = None,
) -> None:
    from automatch.errors.request import InputInvalidError
    from automatch.services.protection import cases

    async def decide(session: OperatorSession) -> None:
        _check_confirmed(question)
        decided = cases.decide_case(
            session.db,
            session.operator,
            case_id,
            _key(session),
            act,
            erasing=session.erasing,
            face_id=face,
            alone=alone,
        )
        try:
            await write_receipt(receipt, decided)
        except InputInvalidError as exc:
            raise InputInvalidError(f"{exc.message} {_OPTIONS}") from exc

    _run(home, decide)
    echo(sentence)


def _check_confirmed(question: str | None) -> None:
    if question is not None and not confirmed(question, yes=False):
        raise typer.Exit(1)


def _write(home: Home, case_id: UUID, audience: CaseSide, text: str) -> None:
    from automatch.services.protection import cases

    _run(
        home,
        lambda session: cases.write_in_case(
            session.db, session.operator, case_id, _key(session), audience=audience, text=text
        ),
    )


def _run(home: Home, act: Callable[[OperatorSession], Awaitable[_T]]) -> _T:
    return run_as_operator(home, act, name="automatch-case")


def _key(session: OperatorSession) -> AddressKey:
    from automatch.auth.addresses import AddressKey
    from automatch.settings.secrets import read

    return AddressKey(read(session.settings.home).address_key)
