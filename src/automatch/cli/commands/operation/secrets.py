"""`automatch secrets`: replacing the secrets of an installation."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from automatch.cli.options import Home
from automatch.cli.output.echo import echo
from automatch.cli.runtime.db_session import ensure_postgres
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.request import InputInvalidError
from automatch.postgres.addresses import (
    API_LOGIN,
    SCHEDULE_LOGIN,
    SUPERUSER,
    WORKER_LOGIN,
    database_address,
)

if TYPE_CHECKING:
    from automatch.settings import Settings

app = typer.Typer(
    help="The secrets of this installation: replace one by a new one.\n\n"
    "Example: `automatch secrets rotate photo-key`",
    no_args_is_help=True,
)


Name = Literal[
    "jwt-secret",
    "photo-key",
    "address-key",
    "push-key",
    "api-password",
    "worker-password",
    "schedule-password",
    "owner-password",
]

_LOGINS = {
    "api-password": API_LOGIN,
    "worker-password": WORKER_LOGIN,
    "schedule-password": SCHEDULE_LOGIN,
    "owner-password": SUPERUSER,
}


@app.callback()
def _group() -> None:
    pass


@app.command("rotate")
def rotate_secret(
    name: Annotated[Name, typer.Argument(help="Which one.", show_default=False)],
    overlap: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=90 * 86400,
            help="Seconds for which tokens of the old jwt-secret are still accepted.",
            show_default="AUTOMATCH_AUTH__ACCESS_TOKEN_S",
        ),
    ] = None,
    home: Home = None,
) -> None:
    """Replace a secret by a new one. Restart server and workers afterwards.

    `jwt-secret` signs access tokens and keys of the project: nobody is signed out, but the keys
    end after the overlap, so print new ones with `automatch token`. `--overlap 0` ends all at once,
    as after a theft. `photo-key` signs links to photos, which end at once. `address-key`
    recognizes banned addresses: bans made before do not count any more. By `push-key` push services
    know the installation: devices are told again once their people have opened the pages. The
    passwords are those of the database logins; `owner-password` is of the embedded Postgres.

    The keys AUTOMATCH_AI_KEY, AUTOMATCH_JWT_SECRET and AUTOMATCH_SECRET_KEYS are changed where
    they are set; `automatch schedule --rotate-key` replaces the key of the schedule.

    Example: `automatch secrets rotate jwt-secret`
    """
    from automatch.settings.secrets import rotate, secrets_file

    settings = load_settings_and_logging(home=home)
    if settings.secrets is not None:
        raise InputInvalidError(
            "AUTOMATCH_SECRETS gives the secrets here; rotate them where secrets.json is, and give "
            "its new content to the hosts."
        )
    field = name.replace("-", "_")
    if name in _LOGINS:
        asyncio.run(_rotate_password(settings, name, field))
    else:
        overlap_s = settings.auth.access_token_s if overlap is None else overlap
        rotate(settings.home, field, overlap_s=overlap_s)
    echo(
        f"There is a new {name}. Restart server and workers; other machines need this "
        f"{secrets_file(settings.home).name} too."
    )


async def _rotate_password(settings: Settings, name: Name, field: str) -> None:
    import psycopg

    from automatch.settings.secrets import read, rotate, secrets_file, write_closed
    from automatch.store.database import translate_errors
    from automatch.store.installation.migrate import check_login, set_login_password

    if name == "owner-password" and settings.database_url is not None:
        raise InputInvalidError(
            "The owner is the login in AUTOMATCH_DATABASE_URL; change its password at the server."
        )
    before = read(settings.home, allow_weak=True)
    address = database_address(settings, before, "owner")
    async with ensure_postgres(settings, before):
        if settings.database_url is not None:
            await check_login(address, _LOGINS[name], getattr(before, field))
        with translate_errors():
            conn = await psycopg.AsyncConnection.connect(address)
        async with conn:
            after = rotate(settings.home, field)
            try:
                await set_login_password(conn, _LOGINS[name], getattr(after, field))
                await conn.commit()
            except BaseException:
                write_closed(secrets_file(settings.home), asdict(before))
                raise
