"""`automatch up`, `serve` and `worker`: the processes that run the system."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI

from automatch.app import create_ai_app, create_app, open_worker
from automatch.cli.runtime.cron import running_schedule
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.cli.runtime.running_database import migrate_database
from automatch.cli.runtime.signals import Stopping, stop_on_signals
from automatch.cli.runtime.sockets import listen_on
from automatch.cli.runtime.supervisor import WorkerProcess
from automatch.cli.runtime.web_server import make_config
from automatch.postgres.embedded import EmbeddedPostgres
from automatch.settings import Settings, load_settings
from automatch.settings.secrets import load_or_create

Home = Annotated[
    Path | None, typer.Option("--home", help="Data folder (AUTOMATCH_HOME).", show_default=False)
]
Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on.", show_default="127.0.0.1")
]
Port = Annotated[
    int | None, typer.Option("--port", help="Port; 0 picks a free one.", show_default="8000")
]


class Part(StrEnum):
    """What a server may be reduced to."""

    API = "api"
    AI = "ai"


def up(home: Home = None, host: Host = None, port: Port = None) -> None:
    """Start everything: database, web server, worker and scheduler. Ctrl-C stops it all.

    A second Ctrl-C stops at once: requests are cut off, jobs are given back.
    """
    settings = load_settings(home=home, host=host, port=port)
    configure_logs(settings)
    asyncio.run(_up(settings))


def serve(
    home: Home = None,
    host: Host = None,
    port: Port = None,
    only: Annotated[
        Part | None,
        typer.Option(
            "--only",
            help="Leave out the rest: `api` is API and pages, `ai` is the AI service, which needs "
            "no database.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start the web server alone: API, pages and the AI service (`/ai/v1/faces`).

    `automatch serve --only ai` lets a larger machine analyze photos for workers elsewhere: set
    AUTOMATCH_AI_KEY to the same 32 characters or more on both, and AUTOMATCH_AI_URL to its address
    where the workers run.
    """
    settings = load_settings(home=home, host=host, port=port)
    configure_logs(settings)
    asyncio.run(_serve_alone(settings, only))


def worker(
    home: Home = None,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", hidden=True, help="Stop when stdin is closed.")
    ] = False,
) -> None:
    """Start a worker with its scheduler. SIGTERM finishes or gives back what it holds.

    A second SIGTERM or Ctrl-C gives back at once.
    """
    settings = load_settings(home=home)
    configure_logs(settings)
    asyncio.run(_work(settings, stop_with_stdin=stop_with_stdin))


async def _up(settings: Settings) -> None:
    secrets = load_or_create(settings.home)
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(listen_on(settings))
        stopping = stop_on_signals()
        where = str(settings.home)
        if settings.database_url is None:
            postgres = await stack.enter_async_context(EmbeddedPostgres(settings, secrets))
            supervising = asyncio.create_task(postgres.supervise())
            stack.push_async_callback(_cancel, supervising)
            if postgres.folder.parent != settings.home:
                where += f", database in {postgres.folder}"
        await migrate_database(settings, secrets)
        await stack.enter_async_context(WorkerProcess(settings, stopping))
        await stack.enter_async_context(running_schedule(settings, secrets, listening))
        say = [f"Data folder: {where}", "Ctrl-C stops everything."]
        await _serve(settings, create_app(settings, secrets), listening, stopping, say)
    typer.echo("Stopped.")


async def _serve_alone(settings: Settings, only: Part | None) -> None:
    if only is Part.AI:
        await _serve_ai(settings)
        return
    secrets = load_or_create(settings.home)
    app = create_app(settings, secrets, with_ai=only is not Part.API)
    with listen_on(settings) as listening:
        async with running_schedule(settings, secrets, listening):
            await _serve(settings, app, listening, stop_on_signals(), [])


async def _serve_ai(settings: Settings) -> None:
    # A machine that only looks at photos need not hold the secrets of the database.
    app = create_ai_app(settings, None if settings.ai_key else load_or_create(settings.home))
    with listen_on(settings) as listening:
        # A model that is missing is said in one line, and not by a server that breaks.
        await app.state.ai_desk.analyzer()
        await _serve(settings, app, listening, stop_on_signals(), [])


async def _serve(
    settings: Settings,
    app: FastAPI,
    listening: socket.socket,
    stopping: Stopping,
    say: list[str],
) -> None:
    server = _Server(make_config(app))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    halting = asyncio.create_task(stopping.asked.wait())
    port = listening.getsockname()[1]
    server.on_started = lambda: typer.echo(
        "\n".join([f"Auto-Match is ready: {settings.server_url(port)}", *say])
    )
    await asyncio.wait({serving, halting}, return_when=asyncio.FIRST_COMPLETED)
    halting.cancel()
    if hasattr(app.state, "services"):
        # Streams end first: a server that waits for them would wait for ever.
        app.state.services.notifier.close()
    server.should_exit = True
    await stopping.hasten(serving, server.force)


async def _work(settings: Settings, *, stop_with_stdin: bool) -> None:
    secrets = load_or_create(settings.home)
    stopping = stop_on_signals()
    async with open_worker(settings, secrets) as running:
        work = asyncio.create_task(running.run())
        halting = asyncio.create_task(stopping.asked.wait())
        waiting = {work, halting}
        if stop_with_stdin:
            waiting.add(asyncio.create_task(_stdin_closed()))
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        running.stop()
        await stopping.hasten(work, running.abort)
        for task in waiting - {work}:
            task.cancel()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _stdin_closed() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass


class _Server(uvicorn.Server):
    """uvicorn's server, with the signals left to us and a word when it takes requests."""

    on_started: Callable[[], None] = staticmethod(lambda: None)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave SIGINT and SIGTERM to `stop_on_signals`: the order of stopping is ours."""
        yield

    def force(self) -> None:
        """Cut off the requests that are still answered."""
        self.force_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self.on_started()
