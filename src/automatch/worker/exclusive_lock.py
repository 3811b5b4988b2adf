"""Who works beside whom: any number of ordinary batches, or one that has to be alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """A lock that many share and one can have for itself; who waits for that is next."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._inside = 0
        self._taken = False

    @property
    def is_taken(self) -> bool:
        """Whether one is alone inside, or waits to be."""
        return self._taken

    async def vacated(self) -> None:
        """Wait until nobody is alone inside or waits to be."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._taken)

    @asynccontextmanager
    async def enter(self, *, alone: bool) -> AsyncIterator[None]:
        """Be inside, together with others or not."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._taken)
            self._taken = alone
            try:
                await self._changed.wait_for(lambda: not (alone and self._inside))
            except BaseException:
                self._taken = False
                self._changed.notify_all()
                raise
            self._inside += 1
        try:
            yield
        finally:
            async with self._changed:
                self._inside -= 1
                self._taken = self._taken and not alone
                self._changed.notify_all()
