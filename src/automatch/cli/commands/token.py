"""`automatch token`: access tokens and keys for an operator's scripts."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from automatch.auth.tokens import Tokens, tokens_from
from automatch.cli.options import Home
from automatch.cli.output.echo import echo
from automatch.cli.runtime.db_session import ensure_postgres
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.request import InputInvalidError
from automatch.model.people import Role
from automatch.postgres.addresses import database_address
from automatch.services.accounts import Accounts
from automatch.services.rate_limits import RateLimits
from automatch.settings import Settings
from automatch.settings.secrets import load_or_create
from automatch.settings.server_address import find_server_url
from automatch.store.database import Database


def token(
    email: Annotated[str | None, typer.Option(help="Sign in as this person.")] = None,
    role: Annotated[
        Role | None, typer.Option(help="Print a key of the project instead: anon, service_role.")
    ] = None,
    env: Annotated[
        bool,
        typer.Option("--env", help="Print SUPABASE_URL and its key for Supabase clients."),
    ] = False,
    home: Home = None,
) -> None:
    """Print an access token of a person, or a key of the project.

    Example: `automatch token --email linh@example.org`
    """
    settings = load_settings_and_logging(home=home)
    choices = [email is not None, role not in (None, Role.AUTHENTICATED), env]
    if choices.count(True) != 1:
        raise InputInvalidError("Give --email, --env, or --role anon or service_role.")
    if email is not None:
        echo(asyncio.run(_token_of(settings, email)))
        return
    secrets = load_or_create(settings.home)
    key = Tokens(secrets.jwt_secret, settings.auth).issue_key(role or Role.ANON)
    address = find_server_url(settings)
    if env and address.endswith(":0"):
        raise InputInvalidError(
            "The port is 0; set AUTOMATCH_PORT to the one that the server uses."
        )
    if env:
        echo(f"SUPABASE_URL={address}")
        echo(f"SUPABASE_ANON_KEY={key}")
    else:
        echo(key)


async def _token_of(settings: Settings, email: str) -> str:
    secrets = load_or_create(settings.home)
    async with (
        ensure_postgres(settings, secrets),
        Database(
            database_address(settings, secrets, "api"), settings.pool, name="automatch-token"
        ) as db,
    ):
        tokens = tokens_from(settings, secrets)
        rate_limits = RateLimits(db, settings.limits, secrets.jwt_secret)
        accounts = Accounts(db, tokens, settings.auth, rate_limits)
        session = await accounts.sign_in_without_password(email)
        return session.access_token
