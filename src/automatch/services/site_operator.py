"""Who runs this installation, as all pages show it: read from the database every few seconds."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from automatch.errors import AutomatchError
from automatch.model.notices import Operator
from automatch.store import notices
from automatch.store.database import Database

READ_EVERY_S = 5.0


class SiteOperator:
    """Keeps who runs this, so that no page waits for it; all servers read the same row."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._known: Operator | None = None
        self._stale_at = -math.inf
        self._reading = asyncio.Lock()

    async def load(self) -> Operator | None:
        """Return who runs this; None while the database has not said it yet."""
        # Those who come while one reads get what was known before.
        if self._clock() >= self._stale_at and (self._known is None or not self._reading.locked()):
            async with self._reading:
                if self._clock() >= self._stale_at:
                    await self._read()
        return self._known

    async def _read(self) -> None:
        try:
            async with self._db.connection() as conn:
                self._known = await notices.load_operator(conn)
        except AutomatchError:
            # A page that says so is shown with what is known.
            pass
        self._stale_at = self._clock() + READ_EVERY_S
