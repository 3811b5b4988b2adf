"""The worker as a process of its own, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Self

import structlog

from automatch.cli.runtime.signals import SIGNALS, Stopping
from automatch.settings import Settings
from automatch.worker.on_demand import start_worker_process

_BACKOFF_S = 0.5
_BACKOFF_MAX_S = 30.0
_STEADY_S = 60.0
"""A worker that lived this long did not fail at starting: the next one starts at once."""

log = structlog.get_logger(__name__)


class WorkerProcess:
    """Keeps one worker process alive.

    The worker stops when its stdin is closed, which also happens when this process is killed: no
    worker is ever left behind.
    """

    def __init__(self, settings: Settings, stopping: Stopping) -> None:
        self._settings = settings
        self._stopping = stopping
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Let the worker finish or give back what it holds; harmless when it does not run.

        A second signal makes it give back at once.
        """
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        ending = asyncio.create_task(process.wait())

        def hurry() -> None:
            # Two, of which one may be the first that it gets: where a service manager sends the
            # first signal to all processes, another copy of that one alone would be lost in it.
            with contextlib.suppress(ProcessLookupError):
                for number in SIGNALS:
                    process.send_signal(number)

        try:
            async with asyncio.timeout(self._settings.worker.shutdown_timeout_s + 5):
                await self._stopping.hasten(ending, hurry)
        except TimeoutError:
            log.warning("worker does not stop; killing it")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _keep(self) -> None:
        delay = _BACKOFF_S
        while True:
            began = time.monotonic()
            self._process = await start_worker_process(self._settings)
            status = await self._process.wait()
            delay = _BACKOFF_S if time.monotonic() - began > _STEADY_S else delay
            log.error("worker ended by itself; starting it again", status=status)
            await asyncio.sleep(delay)
            delay = min(2 * delay, _BACKOFF_MAX_S)
