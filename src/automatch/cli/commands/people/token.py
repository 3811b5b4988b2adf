"""`automatch token`: access tokens and keys for an operator's scripts."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import uuid4

import typer

from automatch.cli.options import Home, Json, Reason
from automatch.cli.output.echo import echo
from automatch.cli.output.tables import Table, print_tables, utc
from automatch.cli.runtime.db_session import audit_actor, db_session
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.request import InputInvalidError
from automatch.model.people import Role

if TYPE_CHECKING:
    from automatch.auth.project_keys import ProjectKeys
    from automatch.settings import Settings

app = typer.Typer(
    help="Print an access token of a person, or a key of the project.\n\n"
    "`list` shows the keys that were printed and have not expired; `end` ends one.\n\n"
    "A person's token needs AUTOMATCH_AUTH__ALLOW_IMPERSONATION=true and a reason, which the "
    "person is told.\n\n"
    'Example: `automatch token --email linh@example.org --reason "asked us to withdraw"`',
    invoke_without_command=True,
)


@app.callback()
def print_token(
    ctx: typer.Context,
    *,
    email: Annotated[
        str | None, typer.Option(help="Sign in as this person, who is told of it.")
    ] = None,
    reason: Reason = None,
    role: Annotated[
        Literal["anon", "service_role"] | None, typer.Option(help="Print a key of the project.")
    ] = None,
    env: Annotated[
        bool,
        typer.Option("--env", help="Print SUPABASE_URL and its key for Supabase clients."),
    ] = False,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="Days until a key of the project expires.")
    ] = 365,
    home: Home = None,
) -> None:
    if ctx.invoked_subcommand is not None:
        if home is not None:
            raise InputInvalidError(f"Write --home after {ctx.invoked_subcommand}.")
        return
    settings = load_settings_and_logging(home=home)
    choices = [email is not None, role is not None, env]
    if choices.count(True) != 1:
        raise InputInvalidError("Give --email, --env, or --role anon or service_role.")
    if email is not None:
        echo(asyncio.run(_token_of(settings, email, reason)))
        return
    from automatch.settings.server_address import find_server_url

    address = find_server_url(settings)
    if env and address.endswith(":0"):
        raise InputInvalidError(
            "The port is 0; set AUTOMATCH_PORT to the one that the server uses."
        )
    key = _make_key(settings, Role(role or "anon"), days * 86400)
    if env:
        echo(f"SUPABASE_URL={address}")
        echo(f"SUPABASE_ANON_KEY={key}")
    else:
        echo(key)


@app.command("list")
def list_keys(home: Home = None, as_json: Json = False) -> None:
    """List the ids of the printed keys that have not expired.

    Example: `automatch token list`
    """
    keys = _keys(home).list()
    if as_json:
        echo(json.dumps([asdict(key) for key in keys], indent=2))
        return
    rows = [
        (key.id, key.role, *map(_utc, (key.made_at, key.expires_at, key.ended_at))) for key in keys
    ]
    columns = ("id", "role", "made", "expires", "ended")
    empty = "No key of the project was printed, or all have expired."
    print_tables(Table(columns, rows, optional_columns=("made",), if_empty=empty))


@app.command("end")
def end_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key, as `list` shows it.")],
    home: Home = None,
) -> None:
    """End a key of the project at once.

    No restart is needed. Servers with a data folder of their own need this one's project_keys.json
    too.

    Example: `automatch token end 3f0c8d52-91b7-4c06-8a4e-5b2d70c9e613`
    """
    if not _keys(home).end(key_id):
        raise InputInvalidError("There is no such key; `automatch token list` shows them.")
    echo(f"{key_id} is refused from now on.")


def _keys(home: Home) -> ProjectKeys:
    from automatch.auth.project_keys import ProjectKeys
    from automatch.settings.secrets import secrets_of

    settings = load_settings_and_logging(home=home)
    secrets_of(settings)
    return ProjectKeys(settings.home)


def _make_key(settings: Settings, role: Role, life_s: int) -> str:
    from automatch.auth.project_keys import ProjectKey, ProjectKeys
    from automatch.auth.tokens import Tokens
    from automatch.settings.secrets import secrets_of

    secrets = secrets_of(settings)
    key_id, now = str(uuid4()), int(time.time())
    key = Tokens(secrets.jwt_secret, settings.auth).issue_key(role, life_s=life_s, key_id=key_id)
    ProjectKeys(settings.home).add(ProjectKey(key_id, role.value, now, now + life_s))
    return key


def _utc(seconds: int | None) -> str:
    return utc(None if seconds is None else datetime.fromtimestamp(seconds, UTC))


async def _token_of(settings: Settings, email: str, reason: str | None) -> str:
    from automatch.auth.tokens import tokens_from
    from automatch.model.operators import Operator
    from automatch.services.accounts.impersonation import impersonate
    from automatch.services.people.people import find_id
    from automatch.settings.secrets import secrets_of

    tokens = tokens_from(settings, secrets_of(settings))
    async with db_session(settings, "api", name="automatch-token") as db:
        operator = Operator.of_machine(audit_actor())
        person_id = await find_id(db, email)
        is_allowed = settings.auth.allow_impersonation
        return await impersonate(
            db, operator, person_id, reason, tokens=tokens, is_allowed=is_allowed
        )
