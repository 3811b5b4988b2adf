"""`automatch serve`: the web server without database and worker, or only a part of it."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home, Host, Port, Processes
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.cli.runtime.process import run_until_stopped
from automatch.cli.runtime.signals import STOP_S, handle_signals
from automatch.cli.runtime.start_checks import check_migrated, check_photos

if TYPE_CHECKING:
    from automatch.settings import Settings


class Part(StrEnum):
    """The parts of the server that can be served alone."""

    API = "api"
    AI = "ai"


def serve(
    *,
    home: Home = None,
    host: Host = None,
    port: Port = None,
    only: Annotated[
        Part | None,
        typer.Option(
            "--only",
            help="Serve only this part: `api` is API and pages, `ai` is the AI service, which "
            "needs no database.",
            show_default=False,
        ),
    ] = None,
    processes: Processes = 1,
    listen_fd: Annotated[
        int | None, typer.Option(hidden=True, help="A listening socket, until stdin is closed.")
    ] = None,
) -> None:
    """Start the web server alone: API, pages and AI service.

    The AI service is `/ai/v1/faces`. `automatch serve --only ai` makes a larger machine analyze
    photos for workers elsewhere: set AUTOMATCH_AI_KEY to the same 32 characters or more on both,
    and AUTOMATCH_AI_URL to its address where the workers run.

    Example: `automatch serve --only api --host 0.0.0.0`
    """
    settings = load_settings_and_logging(home=home, host=host, port=port)
    if only is not Part.AI:
        run_until_stopped(_serve(settings, only, processes, listen_fd))
    elif processes > 1:
        raise typer.BadParameter("The AI service alone is one process.", param_hint="--processes")
    else:
        run_until_stopped(_serve_ai(settings))


async def _serve(
    settings: Settings, only: Part | None, processes: int, listen_fd: int | None
) -> None:
    from contextlib import AsyncExitStack
    from socket import socket

    from automatch.app import create_app
    from automatch.background import BackgroundTasks
    from automatch.cli.runtime.serving.server_processes import more_processes, stopping_with_stdin
    from automatch.cli.runtime.serving.sockets import open_socket
    from automatch.cli.runtime.serving.web_server import make_cron_runner, serve_app
    from automatch.postgres.addresses import database_address, pooled_address
    from automatch.settings.secrets import secrets_of
    from automatch.store.installation.server_check import check_server

    secrets = secrets_of(settings)
    if settings.database_url is not None:
        address = database_address(settings, secrets, "api")
        await check_server(address, pooled=pooled_address(settings, secrets, "api"))
        await check_migrated(address)
        await check_photos(settings, address)
    with open_socket(settings) if listen_fd is None else socket(fileno=listen_fd) as listener:
        background = BackgroundTasks()
        shutdown = handle_signals(STOP_S)
        app = create_app(settings, secrets, with_ai=only is not Part.API, background=background)
        started = asyncio.Event()
        schedule = make_cron_runner(settings, secrets, listener, started)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(background.running("schedule", schedule.run))
            if listen_fd is not None:
                stack.enter_context(stopping_with_stdin(shutdown))
            elif processes > 1:
                await stack.enter_async_context(
                    more_processes(
                        *(settings, listener, shutdown, background),
                        count=processes - 1,
                        only_api=only is Part.API,
                    )
                )
            is_first = listen_fd is None
            await serve_app(settings, app, listener, shutdown, started=started, is_first=is_first)


async def _serve_ai(settings: Settings) -> None:
    from automatch.app import create_ai_app
    from automatch.cli.runtime.serving.sockets import open_socket
    from automatch.cli.runtime.serving.web_server import serve_app
    from automatch.settings.secrets import secrets_of

    # A machine that only analyzes photos need not hold the secrets of the database.
    app = create_ai_app(settings, None if settings.ai_key else secrets_of(settings, create=True))
    with open_socket(settings) as listener:
        # A missing model is reported before the server starts, in one line.
        await app.state.ai_requests.analyzer()
        await serve_app(settings, app, listener, handle_signals(STOP_S))
