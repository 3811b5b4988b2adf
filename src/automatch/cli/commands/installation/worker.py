"""`automatch worker`: one worker process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.cli.runtime.process import keep_start, run_until_stopped, stdin_closed
from automatch.cli.runtime.signals import handle_signals

if TYPE_CHECKING:
    from automatch.settings import Settings
    from automatch.worker.worker import Worker


def worker(
    home: Home = None,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", hidden=True, help="Stop when stdin is closed.")
    ] = False,
    signs_fd: Annotated[
        int | None, typer.Option(hidden=True, help="A pipe for signs of life.")
    ] = None,
) -> None:
    """Start a worker with its scheduled maintenance. SIGTERM finishes or releases its jobs.

    A second SIGTERM or Ctrl-C releases them at once.

    Example: `automatch worker`
    """
    settings = load_settings_and_logging(home=home)
    run_until_stopped(_work(settings, stop_with_stdin=stop_with_stdin, signs_fd=signs_fd))


async def _work(settings: Settings, *, stop_with_stdin: bool, signs_fd: int | None) -> None:
    from automatch.background import raise_ended
    from automatch.postgres.addresses import database_address, pooled_address
    from automatch.settings.secrets import secrets_of
    from automatch.store.installation.server_check import check_server
    from automatch.worker.signs_of_life import show_signs
    from automatch.worker_app import open_worker

    # Until the process ends; a task that nobody refers to may be collected.
    signs = None if signs_fd is None else asyncio.create_task(show_signs(signs_fd), name="signs")
    secrets = secrets_of(settings)
    shutdown = handle_signals(settings.worker.stop_limit_s)
    if settings.database_url is not None:
        await check_server(
            database_address(settings, secrets, "worker"),
            pooled=pooled_address(settings, secrets, "worker"),
        )
    async with open_worker(settings, secrets) as running, AsyncExitStack() as stack:
        keep_start()
        work = asyncio.create_task(running.run(), name="worker")
        requests = {asyncio.create_task(shutdown.wait(), name="shutdown")}
        if stop_with_stdin:
            requests.add(asyncio.create_task(stdin_closed(), name="stdin"))
        waiting = requests | {work}
        if settings.worker.health_port is not None:
            health = _serving_health(running, settings, settings.worker.health_port)
            waiting.add(await stack.enter_async_context(health))
        if settings.metrics.worker_port is not None:
            from automatch.cli.runtime.serving.metrics_server import serving_metrics
            from automatch.cli.runtime.serving.sockets import WORKER_PORT

            port = settings.metrics.worker_port
            metrics = serving_metrics(running.read_metrics, settings, port, setting=WORKER_PORT)
            waiting.add(await stack.enter_async_context(metrics))
        ended, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        shutdown.limit()
        running.stop()
        await shutdown.wait_for(work, running.abort)
        for task in waiting - {work}:
            task.cancel()
        if signs is not None:
            signs.cancel()
        failed = {task for task in ended if task.cancelled() or task.exception()}
        if failed or not ended & requests:
            raise_ended(failed or ended)


@asynccontextmanager
async def _serving_health(
    running: Worker, settings: Settings, port: int
) -> AsyncIterator[asyncio.Task[None]]:
    # Ten MiB that most workers do not need.
    import structlog

    from automatch.cli.runtime.serving.sockets import open_health_socket
    from automatch.cli.runtime.serving.worker_health import HealthServer

    server = HealthServer(running, settings)
    with open_health_socket(settings, port) as listener:
        structlog.get_logger(__name__).info("serving health checks", port=listener.getsockname()[1])
        task = asyncio.create_task(server.run_on(listener), name="health")
        try:
            yield task
        finally:
            server.should_exit = True
            await asyncio.wait({task})
