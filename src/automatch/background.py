"""What a process does beside its requests: it is started again when it ends, and said to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

_BACKOFF_S = 0.5
_BACKOFF_MAX_S = 30.0
_STABLE_S = 5.0

log = structlog.get_logger(__name__)


class BackgroundTasks:
    """Runs tasks that are not to end, and knows which of them have failed.

    Args:
        backoff_s: pause before a task is started again, doubled each time up to half a minute.
        stable_s: a task that has run this long since is no longer counted as failing.
    """

    def __init__(self, *, backoff_s: float = _BACKOFF_S, stable_s: float = _STABLE_S) -> None:
        self._backoff_s = backoff_s
        self._stable_s = stable_s
        self._failing: set[str] = set()

    @property
    def failing(self) -> list[str]:
        """Names of the tasks that have ended and do not run steadily again yet."""
        return sorted(self._failing)

    @asynccontextmanager
    async def running(self, name: str, run: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Run a task during the block, however often it raises or returns."""
        task = asyncio.create_task(self._keep_running(name, run), name=name)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._failing.discard(name)

    async def _keep_running(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        delay = self._backoff_s
        while True:
            recovery = asyncio.get_running_loop().call_later(
                self._stable_s, self._failing.discard, name
            )
            try:
                await run()
            except Exception:
                log.exception("background task failed; starting it again", task=name)
            else:
                log.error("background task ended; starting it again", task=name)
            finally:
                was_stable = recovery.when() <= asyncio.get_running_loop().time()
                recovery.cancel()
            self._failing.add(name)
            delay = self._backoff_s if was_stable else delay
            await asyncio.sleep(delay)
            delay = min(2 * delay, _BACKOFF_MAX_S)
