"""`automatch verify`: the guide's success criteria, end to end, on a live installation."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from automatch.auth.tokens import Tokens
from automatch.cli.commands.run import Home
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.demo.portraits import read_similar_pair
from automatch.errors.request import InputInvalidError
from automatch.model.people import Role
from automatch.ops.smoke_test.criteria import Outcome, Verdict
from automatch.ops.smoke_test.criteria import verify as try_all
from automatch.ops.smoke_test.live_server import LiveServer
from automatch.settings import Settings, load_settings
from automatch.settings.secrets import read

_MARKS = {
    Outcome.MET: ("✓", typer.colors.GREEN),
    Outcome.NOT_MET: ("✗", typer.colors.RED),
    Outcome.NOT_TRIED: ("-", typer.colors.BRIGHT_BLACK),
}
_INTERRUPTED = 130


def verify(
    *,
    home: Home = None,
    url: Annotated[
        str | None,
        typer.Option(help="Where the web server answers, if not where the settings say."),
    ] = None,
    key_file: Annotated[
        str | None,
        typer.Option(
            help="File with the service_role key, or - for stdin; left out, it is made from the "
            "secrets of this machine."
        ),
    ] = None,
    within: Annotated[
        float, typer.Option(min=1, max=600, help="Seconds that a job may take.")
    ] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and not a list.")] = False,
) -> None:
    """Try the whole way with two throw-away people: upload, job, matches, live feed.

    They are drawn, have a school of their own that nobody else can be in or see, and are erased
    afterwards whatever happens. Exit code 0: every criterion is met; 1: one is not.
    """
    settings = load_settings(home=home)
    configure_logs(settings)
    key = _service_key(settings, key_file)
    address = (url or settings.server_url()).rstrip("/")
    verdicts: list[Verdict] = []

    def tell(verdict: Verdict) -> None:
        verdicts.append(verdict)
        if not as_json:
            _show(verdict)

    whole = asyncio.run(_verify(address, key, within, tell))
    if as_json:
        typer.echo(json.dumps(_told(address, verdicts), indent=2))
    if not whole:
        typer.echo("Stopped before the end.", err=True)
        raise typer.Exit(_INTERRUPTED)
    raise typer.Exit(any(one.outcome is not Outcome.MET for one in verdicts))


async def _verify(address: str, key: str, within_s: float, tell: Callable[[Verdict], None]) -> bool:
    """Tell the verdicts; False when a signal cut it short."""
    photos = await asyncio.to_thread(read_similar_pair)
    async with httpx2.AsyncClient(base_url=address) as client:
        trying = asyncio.create_task(
            try_all(LiveServer(client, key), photos, tell, within_s=within_s)
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _cancel_once, trying)
        try:
            await trying
        except asyncio.CancelledError:
            return False
    return True


def _cancel_once(task: asyncio.Task[None]) -> None:
    # The two are erased on the way out, which a second signal must not stop.
    if not task.cancelling():
        task.cancel()


def _show(verdict: Verdict) -> None:
    mark, colour = _MARKS[verdict.outcome]
    typer.echo(f"{typer.style(mark, fg=colour)} {verdict.criterion.value}: {verdict.says}")


def _service_key(settings: Settings, key_file: str | None) -> str:
    if key_file is None:
        return Tokens(read(settings.home).jwt_secret, settings.auth).issue_key(
            Role.SERVICE, life_s=3600
        )
    try:
        text = sys.stdin.read() if key_file == "-" else Path(key_file).read_text("utf-8")
    except (OSError, UnicodeError) as exc:
        raise InputInvalidError(f"The key in {key_file} cannot be read.") from exc
    key = text.strip()
    if not key or not key.isascii() or len(key.split()) != 1:
        raise InputInvalidError(f"{key_file} does not hold one key.")
    return key


def _told(address: str, verdicts: list[Verdict]) -> dict[str, object]:
    return {
        "url": address,
        "met": bool(verdicts) and all(one.outcome is Outcome.MET for one in verdicts),
        "criteria": [
            {
                "criterion": one.criterion.value,
                "outcome": one.outcome.value,
                "says": one.says,
                "took_ms": None if one.took_ms is None else round(one.took_ms, 1),
            }
            for one in verdicts
        ],
    }
