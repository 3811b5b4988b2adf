"""Figures that take seconds to work out: made in the background, and kept until made again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

import structlog

from automatch.background import cancel_all
from automatch.errors import AutomatchError

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Made(Generic[_T]):
    """What is known at this moment."""

    value: _T | None = None
    """None until it was made once."""
    at: datetime | None = None
    is_running: bool = False
    problem: str | None = None
    """Why the last attempt made nothing."""


class Figures(Generic[_T]):
    """One such value of this server; nobody waits for it."""

    def __init__(self, make: Callable[[], Awaitable[_T]], life: timedelta) -> None:
        self._make = make
        self._life = life
        self._made: Made[_T] = Made()
        self._task: asyncio.Task[None] | None = None

    def latest(self) -> Made[_T]:
        """Return what is known, and have it made again when it is older than its life."""
        if self._made.at is None or datetime.now(UTC) - self._made.at > self._life:
            self.renew()
        return self._current()

    def renew(self) -> None:
        """Have it made again, unless that goes on already."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="figures")

    async def close(self) -> None:
        """Stop what goes on."""
        if self._task is not None:
            await cancel_all([self._task])

    def _current(self) -> Made[_T]:
        is_running = self._task is not None and not self._task.done()
        return Made(self._made.value, self._made.at, is_running, self._made.problem)

    async def _run(self) -> None:
        value, problem = self._made.value, None
        try:
            value = await self._make()
        except AutomatchError as exc:
            problem = exc.message
        except Exception:
            log.exception("figures not made")
            problem = "It failed; the log of the server says why."
        # After a failure too, so that it is not tried again at every look.
        self._made = Made(value, datetime.now(UTC), problem=problem)
