"""What a process does beside its requests: no part of it ends without being noticed.

A task can end in three ways: it raises, it returns, or it is cancelled. `asyncio.TaskGroup` notices
the first alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog

_BACKOFF_S = 0.5
_BACKOFF_MAX_S = 30.0
_STABLE_S = 5.0

log = structlog.get_logger(__name__)


class PartEndedError(RuntimeError):
    """A part that is not to end has returned, or was cancelled."""


def raise_ended(ended: Collection[asyncio.Task[None]]) -> NoReturn:
    """Raise the error of the first task that failed, else PartEndedError."""
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
    names = ", ".join(sorted(task.get_name() for task in ended))
    log.error("part ended", part=names)
    raise PartEndedError(names)


async def run_together(
    until: Coroutine[None, None, None] | None = None, **parts: Coroutine[None, None, None]
) -> None:
    """Run parts that are not to end; when one does, or when *until* has returned, end all others.

    Raises:
        PartEndedError: one returned, or was cancelled; what one raises is raised as it is.
    """
    tasks = {asyncio.create_task(part, name=name) for name, part in parts.items()}
    last = set() if until is None else {asyncio.create_task(until, name=f"until {sorted(parts)}")}
    try:
        ended, _ = await asyncio.wait(tasks | last, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_all(tasks | last)
    if ended != last or any(task.cancelled() or task.exception() for task in ended):
        raise_ended(ended)


async def cancel_all(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until all of them have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class BackgroundTasks:
    """Runs tasks that are not to end, and knows which of them have failed.

    Args:
        backoff_s: pause before a task is started again, doubled each time up to half a minute.
        stable_s: a task that has run this long since is no longer counted as failing.
    """

    def __init__(self, *, backoff_s: float = _BACKOFF_S, stable_s: float = _STABLE_S) -> None:
        self.backoff_s = backoff_s
        self.stable_s = stable_s
        self._failing: set[str] = set()
        self._running: set[str] = set()

    @property
    def failing(self) -> list[str]:
        """Names of the tasks that have ended and do not run steadily again yet."""
        return sorted(self._failing)

    def runs(self, name: str) -> bool:
        """Tell whether a task is kept running, even if it has just ended."""
        return name in self._running

    @asynccontextmanager
    async def running(self, name: str, run: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Run a task during the block, whatever ends it."""
        task = _RestartedTask(self, self._failing, name, run)
        task.start()
        self._running.add(name)
        try:
            yield
        finally:
            self._running.discard(name)
            await task.stop()


class _RestartedTask:
    """One task, which is started again by timers of the event loop: nothing can cancel those."""

    def __init__(
        self,
        owner: BackgroundTasks,
        failing: set[str],
        name: str,
        run: Callable[[], Awaitable[None]],
    ) -> None:
        self._owner = owner
        self._failing = failing
        self._name = name
        self._call = run
        self._delay = owner.backoff_s
        self._loop = asyncio.get_running_loop()
        self._is_stopping = False

    def start(self) -> None:
        self._task = self._loop.create_task(self._run(), name=self._name)
        self._timer = self._loop.call_later(self._owner.stable_s, self._failing.discard, self._name)
        self._task.add_done_callback(self._on_end)

    async def stop(self) -> None:
        self._is_stopping = True
        self._timer.cancel()
        await cancel_all([self._task])
        self._failing.discard(self._name)

    async def _run(self) -> None:
        await self._call()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if self._is_stopping:
            return
        was_stable = self._timer.when() <= self._loop.time()
        self._timer.cancel()
        error = None if task.cancelled() else task.exception()
        # A task that returns has said why.
        level = logging.ERROR if error or task.cancelled() else logging.INFO
        log.log(level, "background task ended; starting it again", task=self._name, exc_info=error)
        self._failing.add(self._name)
        delay = self._owner.backoff_s if was_stable else self._delay
        self._timer = self._loop.call_later(delay, self.start)
        self._delay = min(2 * delay, _BACKOFF_MAX_S)
