"""`automatch up`: the whole system in one command."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from automatch.cli.options import Home, Host, Port, Processes
from automatch.cli.output.echo import echo
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.cli.runtime.process import run_until_stopped
from automatch.cli.runtime.signals import STOP_S, handle_signals
from automatch.cli.runtime.start_checks import migrate_database, owner_hints

if TYPE_CHECKING:
    from automatch.settings import Settings


def up(home: Home = None, host: Host = None, port: Port = None, processes: Processes = 1) -> None:
    """Start everything: database, web server, worker and scheduler. Ctrl-C stops it all.

    A second Ctrl-C stops at once: it cuts off requests and releases jobs.

    Example: `automatch up --port 8080`
    """
    run_until_stopped(_up(load_settings_and_logging(home=home, host=host, port=port), processes))


async def _up(settings: Settings, processes: int) -> None:
    from automatch.app import create_app
    from automatch.background import BackgroundTasks
    from automatch.cli.runtime.serving.server_processes import more_processes
    from automatch.cli.runtime.serving.sockets import (
        WORKER_PORT,
        open_health_socket,
        open_metrics_socket,
        open_socket,
    )
    from automatch.cli.runtime.serving.web_server import make_cron_runner, serve_app
    from automatch.cli.runtime.supervisor import WORKER_GRACE_S, WorkerSupervisor
    from automatch.postgres.addresses import database_address
    from automatch.postgres.embedded import EmbeddedPostgres
    from automatch.postgres.erased_data import ErasedData
    from automatch.postgres.lockfile import LockFile
    from automatch.settings.secrets import secrets_file, secrets_of

    background = BackgroundTasks()
    async with AsyncExitStack() as stack:
        if settings.database_url is None and secrets_file(settings.home).exists():
            # An instance that runs here is told rather than its port: another one would not help.
            with LockFile(settings.home):
                pass
        listener = stack.enter_context(open_socket(settings))
        if settings.worker.health_port is not None:
            # Only a port that is free: the worker would end and be started again without end.
            open_health_socket(settings, settings.worker.health_port).close()
        if settings.metrics.worker_port is not None:
            port = settings.metrics.worker_port
            open_metrics_socket(settings, port, setting=WORKER_PORT).close()
        # After what can be refused: nothing is made in a data folder that was mistyped.
        secrets = secrets_of(settings, create=True)
        # Our own Postgres answers, and takes what it needs to stop.
        limit_s = STOP_S + settings.worker.stop_limit_s + WORKER_GRACE_S
        shutdown = handle_signals(None if settings.database_url is None else limit_s)
        folders = str(settings.home)
        if settings.database_url is None:
            postgres = await stack.enter_async_context(
                EmbeddedPostgres(settings, secrets, shutdown.forced)
            )
            await stack.enter_async_context(background.running("postgres", postgres.supervise))
            if postgres.folder.parent != settings.home:
                folders += f", database in {postgres.folder}"
        await migrate_database(settings, secrets)
        if settings.database_url is None:
            erased = ErasedData(database_address(settings, secrets, "owner"))
            await stack.enter_async_context(background.running("erased data", erased.run))
        worker = await stack.enter_async_context(WorkerSupervisor(settings, shutdown))
        await stack.enter_async_context(background.running("worker", worker.supervise))
        started = asyncio.Event()
        schedule = make_cron_runner(settings, secrets, listener, started)
        await stack.enter_async_context(background.running("schedule", schedule.run))
        if processes > 1:
            more = more_processes(settings, listener, shutdown, background, count=processes - 1)
            await stack.enter_async_context(more)
        hints = await owner_hints(settings, secrets)
        ready_lines = [f"Data folder: {folders}", *hints, "Ctrl-C stops everything."]
        app = create_app(settings, secrets, background=background)
        await serve_app(settings, app, listener, shutdown, ready_lines, started=started)
    echo("Stopped.")
