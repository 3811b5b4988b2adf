"""`automatch erasure`: check that an erased person is gone, and erase again after a restore."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from automatch.cli.options import Home, Json
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.request import InputInvalidError

if TYPE_CHECKING:
    from automatch.ops.erasure_scan import Place
    from automatch.settings import Settings

app = typer.Typer(
    help="Erased people: check that they are gone, and keep them erased.\n\n"
    "Example: `automatch erasure verify receipt.jws`",
    no_args_is_help=True,
)


@app.command()
def verify(
    receipt: Annotated[
        str | None,
        typer.Argument(metavar="[RECEIPT]", help="The file of a receipt; - reads it from stdin."),
    ] = None,
    person: Annotated[
        UUID | None, typer.Option("--person", metavar="ID", help="The id of an erased person.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="A key set (/.well-known/jwks.json of the installation that signed it): check "
            "the signature alone, on any machine."
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check a receipt, and look everywhere for what it says is gone.

    Looks through every text, id and JSON of the database, the photo store, the files of the data
    folder and, where the id itself is given, the bytes of the embedded database. Exit code 0:
    nothing was found; 1: something was, or the receipt is not genuine.

    Example: `automatch erasure verify receipt.jws`
    """
    from automatch.auth.receipts import Receipts
    from automatch.settings.secrets import secrets_of

    if (receipt is None) == (person is None):
        raise InputInvalidError("Give a receipt, or --person with an id.")
    settings = load_settings_and_logging(home=home)
    if keys is None:
        # A mistyped data folder is told before the file of a receipt.
        secrets_of(settings)
    claims: dict[str, Any] = {}
    if receipt is not None:
        text = sys.stdin.read() if receipt == "-" else _read(Path(receipt))
        key_set = json.loads(_read(keys)) if keys else None
        claims = Receipts(settings.home).verify(text, key_set)
    places = [] if keys else asyncio.run(_scan(settings, claims, person))
    found = [place for place in places if place.count and not place.is_expected]
    if as_json:
        echo_json(
            {
                "receipt": claims or None,
                "found": bool(found),
                "places": [{"place": p.name, "count": p.count, "note": p.note} for p in places],
            }
        )
    else:
        _print(claims, places)
    raise typer.Exit(1 if found else 0)


@app.command()
def replay(home: Home = None) -> None:
    """Erase again everybody whom a restored database brought back.

    `automatch up` and `automatch migrate` do this by themselves; this is for a database that was
    restored under a running server.

    Example: `automatch erasure replay`
    """
    from automatch.cli.runtime.db_session import ensure_postgres
    from automatch.cli.runtime.start_checks import replay_erasures
    from automatch.settings.secrets import secrets_of

    settings = load_settings_and_logging(home=home)
    secrets = secrets_of(settings)

    async def run() -> int:
        async with ensure_postgres(settings, secrets):
            return await replay_erasures(settings, secrets)

    count = asyncio.run(run())
    echo(f"Erased again: {count}." if count else "Everybody who was erased is still erased.")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeError) as exc:
        raise InputInvalidError(f"{path} cannot be read.") from exc


async def _scan(settings: Settings, claims: dict[str, Any], person: UUID | None) -> list[Place]:
    from automatch.cli.runtime.db_session import ensure_postgres
    from automatch.ops.erasure_scan import scan
    from automatch.photos.make import make_photos
    from automatch.postgres.addresses import database_address
    from automatch.settings.secrets import secrets_of

    secrets = secrets_of(settings)
    async with ensure_postgres(settings, secrets):
        return await scan(
            database_address(settings, secrets, "owner"),
            make_photos(settings),
            settings,
            person=person,
            person_sha256=claims.get("person_sha256"),
            photos_sha256=claims.get("photos_sha256", []),
        )


def _print(claims: dict[str, Any], places: list[Place]) -> None:
    if claims:
        signed = datetime.fromtimestamp(claims.get("iat", 0), UTC)
        destroyed = claims.get("destroyed", {})
        rows = sum(destroyed.get("database", {}).values())
        photos = destroyed.get("photo store", {}).get("photos", 0)
        echo(f"The receipt is genuine: {claims.get('iss')}, {signed:%Y-%m-%d %H:%M} UTC,")
        echo(f"{rows} rows and {photos} photos, by the act of: {claims.get('act')}.")
    for place in places:
        word = "kept" if place.is_expected else "FOUND"
        result = "not found" if not place.count else f"{word} {place.count}"
        if place.count is None:
            result = "could not be read"
        echo(f"{place.name}: {result}{f' ({place.note})' if place.note else ''}")
