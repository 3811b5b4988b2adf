"""`automatch settings`: what can be changed while everything runs."""

from __future__ import annotations

from typing import Annotated

import typer

from automatch.cli.options import Home, Json
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.output.tables import Table, note, print_tables
from automatch.cli.runtime.db_session import run_as_operator

app = typer.Typer(
    help="The settings that live in the database: list them, set one. They count at once, for all "
    "servers and workers. Changes are recorded in the audit log.\n\n"
    "Example: `automatch settings list`",
    no_args_is_help=True,
)


@app.command("list")
def list_settings(home: Home = None, as_json: Json = False) -> None:
    """List the settings with their values.

    Example: `automatch settings list --json`
    """
    from automatch.services.operation import database_settings as service

    values = run_as_operator(
        home, lambda desk: service.list_settings(desk.db, desk.operator), name="automatch-settings"
    )
    if as_json:
        echo_json({each.setting.name: each.value for each in values})
        return
    rows = [
        (
            each.setting.name,
            each.shown,
            each.setting.unit or "-",
            each.setting.range,
            each.setting.show(each.setting.default),
            each.setting.title,
        )
        for each in values
    ]
    columns = ("setting", "value", "unit", "range", "default", "what")
    print_tables(Table(columns, rows, wrapped_column="what"))
    note("The threshold: `automatch threshold`. The settings of the environment: docs/settings.md.")


@app.command("set")
def set_value(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `list` shows it.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Within the range of `list`.")],
    home: Home = None,
) -> None:
    """Set one, and say what happens.

    Example: `automatch settings set match_count 10`
    """
    from automatch.services.operation import database_settings as service

    before = run_as_operator(
        home,
        lambda desk: service.change_setting(desk.db, desk.operator, name, value),
        name="automatch-settings",
    )
    now = before.setting.show(before.setting.parse(value))
    echo(f"{name} is {now}; it was {before.shown}. {before.setting.effect}")
