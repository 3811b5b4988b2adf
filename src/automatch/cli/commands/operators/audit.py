"""`automatch audit`: the log of what operators did and looked at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home, Json, Limit
from automatch.cli.output.echo import echo_json
from automatch.cli.output.tables import Table, or_dash, print_tables, utc
from automatch.cli.runtime.db_session import OperatorSession, run_as_operator

if TYPE_CHECKING:
    from automatch.model.operators import AuditEntry

app = typer.Typer(
    help="What operators did and looked at. Looking here is recorded too.\n\n"
    "Example: `automatch audit list`",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    pass


@app.command("list")
def list_entries(
    *,
    home: Home = None,
    person: Annotated[
        str | None,
        typer.Option(help="Only what concerns this person: an id, or the whole e-mail address."),
    ] = None,
    act: Annotated[str | None, typer.Option(help="Only this act, such as erase_person.")] = None,
    by: Annotated[str | None, typer.Option(help="Only this actor, as `who` shows it.")] = None,
    before: Annotated[
        int | None, typer.Option(help="Only what was before this entry, by its id in the JSON.")
    ] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List the audit log, newest entry first.

    Example: `automatch audit list --act erase_person`
    """
    from automatch.services.operators import roles

    async def read(session: OperatorSession) -> Sequence[AuditEntry]:
        person_id = None
        if person is not None:
            from automatch.services.people.people import find_id

            person_id = await find_id(session.db, person)
        found = await roles.read_audit_log(
            session.db,
            session.operator,
            limit,
            person_id=person_id,
            act=act,
            actor=by,
            before=before,
        )
        return found.entries

    entries = run_as_operator(home, read, name="automatch-audit")
    if as_json:
        from automatch.http.responses.admin import AuditResponse

        echo_json(AuditResponse(entries=entries).model_dump(mode="json"))
        return
    columns = ("when (UTC)", "who", "act", "object", "reason", "details")
    rows = [
        (
            utc(entry.recorded_at),
            entry.actor,
            entry.action,
            or_dash(entry.object_id),
            or_dash(entry.reason),
            json.dumps(entry.details, ensure_ascii=False),
        )
        for entry in entries
    ]
    print_tables(
        Table(columns, rows, wrapped_column="details", if_empty="The audit log has nothing of it.")
    )
