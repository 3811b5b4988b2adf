"""`automatch verify`: the smoke test, by the guide's success criteria."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home, Json, ServerUrl
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.request import InputInvalidError
from automatch.model.people import Role

if TYPE_CHECKING:
    from automatch.ops.smoke_test.criteria import Verdict
    from automatch.settings import Settings

_MARKS = {
    "met": ("✓", typer.colors.GREEN),
    "not met": ("✗", typer.colors.RED),
    "not tried": ("-", typer.colors.BRIGHT_BLACK),
}
_INTERRUPTED = 130
_IDENTITY_TIMEOUT_S = 10


def verify(
    *,
    home: Home = None,
    url: ServerUrl = None,
    key_file: Annotated[
        str | None,
        typer.Option(
            help="File with the service_role key, or - for stdin. Default: created from the "
            "secrets of this machine."
        ),
    ] = None,
    within: Annotated[float, typer.Option(min=1, max=600, help="Maximum seconds for a job.")] = 60,
    as_json: Json = False,
) -> None:
    """Run a smoke test with two temporary people.

    It tries upload, job, matches and live feed. Their faces are drawn, their school is their own
    and invisible to everyone else, and they are deleted afterwards in any case. Exit code 0: every
    criterion is met; 1: at least one is not.

    Example: `automatch verify --within 10`
    """
    from automatch.settings.secrets import secrets_of
    from automatch.settings.server_address import find_server_url

    settings = load_settings_and_logging(home=home)
    key = _service_key(settings, key_file)
    address = find_server_url(settings, url)
    if key_file is None:
        asyncio.run(_refuse_others(address, secrets_of(settings).jwt_secret))
    verdicts: list[Verdict] = []

    def report(verdict: Verdict) -> None:
        verdicts.append(verdict)
        if not as_json:
            _show(verdict)

    finished = asyncio.run(_verify(address, key, within, report))
    if as_json:
        echo_json(_as_json(address, verdicts))
    if not finished:
        echo("Interrupted.", err=True)
        raise typer.Exit(_INTERRUPTED)
    raise typer.Exit(not all(verdict.is_met for verdict in verdicts))


async def _refuse_others(address: str, jwt_secret: str) -> None:
    """Raise an error unless the server is of this installation, before it is sent a key."""
    import httpx2

    from automatch.auth.server_identity import is_server_ours

    async with httpx2.AsyncClient(timeout=_IDENTITY_TIMEOUT_S) as http:
        try:
            is_ours = await is_server_ours(http, address, jwt_secret)
        except (httpx2.HTTPError, httpx2.InvalidURL):
            # The smoke test says so, criterion by criterion, and sends nothing to nobody.
            return
    if not is_ours:
        raise InputInvalidError(
            f"The server at {address} is not of this installation, so it is sent no key; "
            "name the right one with --url, or the data folder with --home."
        )


async def _verify(
    address: str, key: str, within_s: float, report: Callable[[Verdict], None]
) -> bool:
    """Report the verdicts; return False when a signal interrupted the test."""
    import httpx2

    from automatch.demo.portraits import read_similar_pair
    from automatch.ops.smoke_test.criteria import verify as run_smoke_test
    from automatch.ops.smoke_test.live_server import LiveServer

    photos = await asyncio.to_thread(read_similar_pair)
    async with httpx2.AsyncClient(base_url=address) as client:
        running = asyncio.create_task(
            run_smoke_test(LiveServer(client, key), photos, report, within_s=within_s)
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _cancel_once, running)
        try:
            await running
        except asyncio.CancelledError:
            return False
    return True


def _cancel_once(task: asyncio.Task[None]) -> None:
    # The two people are deleted on the way out, which a second signal must not interrupt.
    if not task.cancelling():
        task.cancel()


def _show(verdict: Verdict) -> None:
    mark, colour = _MARKS[verdict.outcome.value]
    echo(mark, fg=colour, nl=False)
    echo(f" {verdict.criterion.value}: {verdict.message}")


def _service_key(settings: Settings, key_file: str | None) -> str:
    from automatch.auth.tokens import Tokens
    from automatch.settings.secrets import secrets_of

    if key_file is None:
        return Tokens(secrets_of(settings).jwt_secret, settings.auth).issue_key(
            Role.SERVICE, life_s=3600
        )
    try:
        text = sys.stdin.read() if key_file == "-" else Path(key_file).read_text("utf-8")
    except (OSError, UnicodeError) as exc:
        raise InputInvalidError(f"Cannot read the key in {key_file}.") from exc
    key = text.strip()
    if not key or not key.isascii() or len(key.split()) != 1:
        raise InputInvalidError(f"{key_file} must hold exactly one key.")
    return key


def _as_json(address: str, verdicts: list[Verdict]) -> dict[str, object]:
    return {
        "url": address,
        "met": bool(verdicts) and all(verdict.is_met for verdict in verdicts),
        "criteria": [
            {
                "criterion": verdict.criterion.value,
                "outcome": verdict.outcome.value,
                "message": verdict.message,
                "took_ms": None if verdict.took_ms is None else round(verdict.took_ms, 1),
            }
            for verdict in verdicts
        ],
    }
