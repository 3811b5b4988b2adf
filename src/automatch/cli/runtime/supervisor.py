"""Supervision of the worker process: it is restarted when it ends unexpectedly."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Self

import structlog

from automatch.background import cancel_all
from automatch.cli.runtime.signals import SIGNALS, Shutdown
from automatch.settings import Settings
from automatch.worker.on_demand import start_worker_process
from automatch.worker.signs_of_life import wait_until_silent

WORKER_GRACE_S = 5
"""A worker ends by itself when it takes too long to stop; this much later it is killed."""
_FORCED_S = 3
"""A worker that is told to stop at once is killed this much later."""

log = structlog.get_logger(__name__)


class WorkerSupervisor:
    """Keeps one worker process running while `supervise` runs, and stops it when this is left.

    The worker stops when its stdin is closed. The operating system closes it when this process is
    killed, so no worker is ever left behind.
    """

    def __init__(self, settings: Settings, shutdown: Shutdown) -> None:
        self._settings = settings
        self._shutdown = shutdown
        self._process: asyncio.subprocess.Process | None = None
        self._signs = asyncio.StreamReader()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Let the worker finish or release its jobs; a forced shutdown releases them at once."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        exit_task = asyncio.create_task(process.wait())

        def force() -> None:
            # Two different signals: a service manager may have sent the first one to the worker
            # too, and a pending signal swallows another of its kind.
            with contextlib.suppress(ProcessLookupError):
                for number in SIGNALS:
                    process.send_signal(number)
            limit.reschedule(asyncio.get_running_loop().time() + _FORCED_S)

        try:
            async with asyncio.timeout(
                self._settings.worker.stop_limit_s + WORKER_GRACE_S
            ) as limit:
                await self._shutdown.wait_for(exit_task, force)
        except TimeoutError:
            log.warning("worker does not stop; killing it")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def supervise(self) -> None:
        """Start the worker unless it runs; return when it has ended, to be called again then.

        One that stands still for a minute, as when frozen, is killed.
        """
        if self._process is None or self._process.returncode is not None:
            self._process = await self._start()
        watch = asyncio.create_task(self._kill_when_silent(self._process))
        try:
            status = await self._process.wait()
        finally:
            await cancel_all([watch])
        log.error("worker exited unexpectedly; restarting it", status=status)

    async def _start(self) -> asyncio.subprocess.Process:
        reading, writing = os.pipe()
        signs = self._signs = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(signs), os.fdopen(reading, "rb", buffering=0)
        )
        try:
            return await start_worker_process(self._settings, signs_fd=writing)
        finally:
            os.close(writing)

    async def _kill_when_silent(self, process: asyncio.subprocess.Process) -> None:
        if await wait_until_silent(self._signs):
            log.error("worker gives no sign of life; killing it")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
