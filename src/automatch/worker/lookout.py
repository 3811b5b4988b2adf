"""What a worker without work sees while it waits, told to the parts that would else ask for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress

from automatch.store.notify import Look


class Lookout:
    """The last look, and when it was.

    A worker in line for its turn looks around now and then, in one statement; a busy one does not.
    So a part asks by itself only when nobody has looked for some time.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._look: Look | None = None
        self._looked_at = -math.inf
        self._looked = asyncio.Event()

    def note(self, look: Look) -> None:
        """Tell all who wait what was seen just now."""
        self._look, self._looked_at = look, self._clock()
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()

    async def wait(self, seconds: float, until: Callable[[Look], bool]) -> None:
        """Return when such a look is noted, or when none was for *seconds*."""
        began = self._clock()
        while (left := max(began, self._looked_at) + seconds - self._clock()) > 0:
            looked = self._looked
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await looked.wait()
            if looked.is_set() and self._look is not None and until(self._look):
                return
