"""Signs of life on streams that have nothing to tell: one timer for all of them."""

from __future__ import annotations

import asyncio
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from automatch.feed.stream import FeedStream

_PARTS = 16
"""So many times in the interval a part of the streams is written to, and never all at once."""


class Pings:
    """Pings each stream once in an interval."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._parts: list[set[FeedStream]] = [set() for _ in range(_PARTS)]
        self._next = cycle(self._parts)

    def add(self, stream: FeedStream) -> None:
        """Ping a stream from now on."""
        next(self._next).add(stream)

    def discard(self, stream: FeedStream) -> None:
        """Ping it no more."""
        for part in self._parts:
            part.discard(stream)

    async def run(self) -> None:
        """Ping until cancelled."""
        for part in cycle(self._parts):
            await asyncio.sleep(self._interval_s / _PARTS)
            for stream in [*part]:
                stream.ping()
