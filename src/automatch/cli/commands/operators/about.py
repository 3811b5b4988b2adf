"""`automatch about`: who runs this installation, as pages and mails say it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from automatch.cli.options import Home, Json
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.output.tables import Table, note, or_dash, print_tables
from automatch.cli.runtime.db_session import run_as_operator, run_in_db_session
from automatch.errors.request import InputInvalidError

app = typer.Typer(
    help="Show or set who runs this installation.\n\nExample: `automatch about`",
    invoke_without_command=True,
)


@app.callback()
def show(ctx: typer.Context, home: Home = None, as_json: Json = False) -> None:
    if ctx.invoked_subcommand is not None:
        if home is not None or as_json:
            raise InputInvalidError(f"Write options after {ctx.invoked_subcommand}.")
        return
    from automatch.store.operators import notices

    operator = run_in_db_session(home, notices.load_site_operator, name="automatch-about")
    if as_json:
        echo_json(asdict(operator))
        return
    fields = {"name": operator.name, "e-mail": operator.contact_email, "url": operator.contact_url}
    print_tables(Table.of_fields({name: or_dash(value) for name, value in fields.items()}))
    if not operator.has_contact:
        note("Without a contact, sign-up says that this is a test installation.")


@app.command("set")
def set_operator(
    name: Annotated[str | None, typer.Option(help="Who runs this.")] = None,
    email: Annotated[str | None, typer.Option(help="Address for questions.")] = None,
    url: Annotated[str | None, typer.Option(help="Page with contact details.")] = None,
    home: Home = None,
) -> None:
    """Set who runs this; what is not given stays, and "" removes it.

    Pages and mails of all servers show it within seconds.

    Example: `automatch about set --name "UIT Student Union" --email privacy@uit.example`
    """
    if name is None and email is None and url is None:
        raise InputInvalidError("Give --name, --email or --url.")
    from automatch.services.operators.site_operator import set_site_operator

    run_as_operator(
        home,
        lambda me: set_site_operator(me.db, me.operator, name=name, email=email, url=url),
        name="automatch-about",
    )
    echo("Pages and mails say so from now on.")
