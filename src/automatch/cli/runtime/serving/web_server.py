"""The web server: its start and stop, and the cron runner beside it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack

import structlog
from fastapi import FastAPI

from automatch.background import raise_ended
from automatch.cli.output.echo import echo
from automatch.cli.runtime.process import keep_start
from automatch.cli.runtime.serving.connections import raise_descriptor_limit
from automatch.cli.runtime.serving.http_server import HttpServer
from automatch.cli.runtime.serving.metrics_server import serving_metrics
from automatch.cli.runtime.serving.sockets import SERVER_PORT
from automatch.cli.runtime.signals import Shutdown
from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.secrets import Secrets
from automatch.settings.server_address import note_address
from automatch.supabase_compat.cron_runner import CronRunner

log = structlog.get_logger(__name__)


async def serve_app(
    settings: Settings,
    app: FastAPI,
    listener: socket.socket,
    shutdown: Shutdown,
    ready_lines: Sequence[str] = (),
    *,
    started: asyncio.Event | None = None,
    is_first: bool = True,
) -> None:
    """Serve *app* until a shutdown is requested.

    When it serves, *ready_lines* and its address are printed, and *started* is set. Of several
    processes the first one notes the address for commands.

    Raises:
        PartEndedError: the server has ended by itself.
    """
    port = listener.getsockname()[1]
    address = settings.server_url(port)
    raise_descriptor_limit()

    def on_started() -> None:
        keep_start()
        echo("\n".join([*ready_lines, f"Auto-Match is ready: {address}"]))
        if started is not None:
            started.set()

    server = HttpServer(app, settings, on_started=on_started)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="web server")
    requested = asyncio.create_task(shutdown.wait(), name="shutdown")
    # Not of the AI service alone, which no command asks.
    is_whole = hasattr(app.state, "services")
    waiting = {serving, requested}
    async with AsyncExitStack() as stack:
        if is_whole and is_first:
            stack.enter_context(note_address(settings.home, settings.local_url(port)))
        if settings.metrics.port is not None:
            read = app.state.scrape.read
            metrics = serving_metrics(read, settings, settings.metrics.port, setting=SERVER_PORT)
            waiting.add(await stack.enter_async_context(metrics))
        ended, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    requested.cancel()
    if is_whole:
        # Feed streams never end by themselves, and the server would wait for them.
        app.state.services.live.notifier.close()
    server.should_exit = True
    await shutdown.wait_for(serving, server.force)
    if not shutdown.requested.is_set():
        raise_ended(ended)


def make_cron_runner(
    settings: Settings, secrets: Secrets, listener: socket.socket, started: asyncio.Event
) -> CronRunner:
    """Return what runs the cron jobs, once *started* is set and unless another server does."""
    port = listener.getsockname()[1]
    return CronRunner(
        database_address(settings, secrets, "schedule"),
        local_url=settings.local_url(port),
        public_url=settings.public_url,
        net_origins=settings.allowed_net_origins(port),
        started=started,
    )
