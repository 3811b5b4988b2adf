"""Supervision of the worker process: it is restarted when it ends unexpectedly."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Self

import structlog

from automatch.cli.runtime.signals import SIGNALS, Shutdown
from automatch.settings import Settings
from automatch.worker.on_demand import start_worker_process

_BACKOFF_S = 0.5
_BACKOFF_MAX_S = 30.0
_STABLE_S = 60.0
"""A worker that ran this long did not fail at startup, so the backoff starts again."""

log = structlog.get_logger(__name__)


class WorkerSupervisor:
    """Keeps one worker process running.

    The worker stops when its stdin is closed. The operating system closes it when this process is
    killed, so no worker is ever left behind.
    """

    def __init__(self, settings: Settings, shutdown: Shutdown) -> None:
        self._settings = settings
        self._shutdown = shutdown
        self._process: asyncio.subprocess.Process | None = None
        self._supervising: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._supervising = asyncio.create_task(self._supervise())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Let the worker finish or release its jobs; a forced shutdown releases them at once."""
        if self._supervising is not None:
            self._supervising.cancel()
            await asyncio.gather(self._supervising, return_exceptions=True)
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

        try:
            async with asyncio.timeout(self._settings.worker.shutdown_timeout_s + 5):
                await self._shutdown.wait_for(exit_task, force)
        except TimeoutError:
            log.warning("worker does not stop; killing it")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _supervise(self) -> None:
        delay = _BACKOFF_S
        while True:
            started = time.monotonic()
            self._process = await start_worker_process(self._settings)
            status = await self._process.wait()
            delay = _BACKOFF_S if time.monotonic() - started > _STABLE_S else delay
            log.error("worker exited unexpectedly; restarting it", status=status)
            await asyncio.sleep(delay)
            delay = min(2 * delay, _BACKOFF_MAX_S)
