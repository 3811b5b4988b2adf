"""`automatch worker`: one worker process."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from automatch.cli.options import Home
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.cli.runtime.signals import handle_signals
from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.secrets import load_or_create
from automatch.store.server_check import check_server
from automatch.worker_app import open_worker


def worker(
    home: Home = None,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", hidden=True, help="Stop when stdin is closed.")
    ] = False,
) -> None:
    """Start a worker with its scheduled maintenance. SIGTERM finishes or releases its jobs.

    A second SIGTERM or Ctrl-C releases them at once.

    Example: `automatch worker`
    """
    settings = load_settings_and_logging(home=home)
    asyncio.run(_work(settings, stop_with_stdin=stop_with_stdin))


async def _work(settings: Settings, *, stop_with_stdin: bool) -> None:
    secrets = load_or_create(settings.home)
    shutdown = handle_signals()
    if settings.database_url is not None:
        await check_server(database_address(settings, secrets, "worker"))
    async with open_worker(settings, secrets) as running:
        work = asyncio.create_task(running.run())
        waiting = {work, asyncio.create_task(shutdown.requested.wait())}
        if stop_with_stdin:
            waiting.add(asyncio.create_task(_stdin_closed()))
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        running.stop()
        await shutdown.wait_for(work, running.abort)
        for task in waiting - {work}:
            task.cancel()


async def _stdin_closed() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass
