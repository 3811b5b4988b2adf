"""Signs of life on streams that have nothing to tell: one timer for all of them."""

from __future__ import annotations

import asyncio
from itertools import cycle
from typing import Protocol

_PARTS = 16
"""So many times in the interval a part of the streams is written to, and never all at once."""


class Pinged(Protocol):
    """What tells its client that it is still there."""

    def ping(self) -> None:
        """Tell so."""


class Pings:
    """Pings each stream once in an interval."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._parts: list[set[Pinged]] = [set() for _ in range(_PARTS)]
        self._next = cycle(self._parts)

    def add(self, stream: Pinged) -> None:
        """Ping a stream from now on."""
        next(self._next).add(stream)

    def discard(self, stream: Pinged) -> None:
        """Ping it no more."""
        for part in self._parts:
            part.discard(stream)

    async def run(self) -> None:
        """Ping until cancelled."""
        for part in cycle(self._parts):
            await asyncio.sleep(self._interval_s / _PARTS)
            for stream in [*part]:
                stream.ping()
