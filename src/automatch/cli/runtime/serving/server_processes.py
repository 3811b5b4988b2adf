"""More processes of one web server: they accept from its socket and end with it.

All are alike: each listens to the database and has feeds of its own, and one of all runs the
schedule. A connection goes to whichever process takes it first, so one that dies refuses nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import structlog

from automatch.background import BackgroundTasks, cancel_all
from automatch.cli.runtime.process import stdin_closed
from automatch.cli.runtime.signals import STOP_S, Shutdown
from automatch.worker.on_demand import command_environment

if TYPE_CHECKING:
    from automatch.settings import Settings

log = structlog.get_logger(__name__)


@asynccontextmanager
async def more_processes(
    settings: Settings,
    listener: socket.socket,
    shutdown: Shutdown,
    background: BackgroundTasks,
    *,
    count: int,
    only_api: bool = False,
) -> AsyncIterator[None]:
    """Run *count* more processes that accept from *listener*, during the block."""
    async with AsyncExitStack() as stack:
        for number in range(2, count + 2):
            process = _ServerProcess(settings, listener, shutdown, number, only_api=only_api)
            stack.push_async_callback(process.stop)
            await stack.enter_async_context(
                background.running(f"server process {number}", process.supervise)
            )
        yield


@contextmanager
def stopping_with_stdin(shutdown: Shutdown) -> Iterator[None]:
    """Request a shutdown when stdin is closed: in a process that another one has started."""

    async def stop() -> None:
        await stdin_closed()
        # Not as a signal: a service manager may have sent one to all, and a second one forces.
        shutdown.requested.set()
        shutdown.limit()

    task = asyncio.create_task(stop(), name="stdin")
    try:
        yield
    finally:
        task.cancel()


class _ServerProcess:
    """Keeps one process running while `supervise` runs.

    It stops when its stdin is closed, which also happens when this process is killed.
    """

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        shutdown: Shutdown,
        number: int,
        *,
        only_api: bool,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._shutdown = shutdown
        self._number = number
        self._only_api = only_api
        self._process: asyncio.subprocess.Process | None = None

    async def supervise(self) -> None:
        """Start the process unless it runs; return when it has ended, to be called again then."""
        if self._process is None or self._process.returncode is not None:
            self._process = await self._start()
        stopping = asyncio.create_task(self._stop_with_server(), name="stop of a server process")
        try:
            status = await self._process.wait()
        finally:
            await cancel_all([stopping])
        if self._shutdown.requested.is_set():
            await asyncio.Event().wait()
        log.error("server process ended; restarting it", number=self._number, status=status)

    async def stop(self) -> None:
        """Let the process answer what it has begun; kill it when that takes too long."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        _close_stdin(process)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            log.warning("server process does not stop; killing it", number=self._number)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _stop_with_server(self) -> None:
        await self._shutdown.wait()
        if self._process is not None:
            _close_stdin(self._process)

    async def _start(self) -> asyncio.subprocess.Process:
        settings, descriptor = self._settings, self._listener.fileno()
        port = self._listener.getsockname()[1]
        # Each process tells its own metrics, at the next port.
        metrics = settings.metrics.port and settings.metrics.port + self._number - 1
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "automatch", "serve", "--listen-fd", str(descriptor)),
            *("--host", settings.host, "--port", str(port)),
            *(["--only", "api"] if self._only_api else []),
            env=command_environment(settings)
            | ({} if metrics is None else {"AUTOMATCH_METRICS__PORT": str(metrics)}),
            stdin=asyncio.subprocess.PIPE,
            # The address has been told.
            stdout=asyncio.subprocess.DEVNULL,
            # Ctrl-C in a terminal reaches only this process, which then stops the others in order.
            start_new_session=True,
            pass_fds=[descriptor],
        )


def _close_stdin(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
