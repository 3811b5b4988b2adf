"""When matches were written to open pages: the last stage of a job's way.

A page is written to more often than the database should hear of it, so what was written is noted
here and recorded together, once a second. A note is an age and no time of day, which servers tell
differently.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from uuid import UUID

from automatch.errors import AutomatchError
from automatch.store.database import Database
from automatch.store.matching.deliveries import Delivery, record_deliveries
from automatch.store.outage_log import OutageLog

_FLUSH_EVERY_S = 1.0
_BATCH = 1000
_MAX_KEPT = 50_000
"""Deliveries that wait for the database; more are dropped."""


class Deliveries:
    """Collects deliveries, and records them every second."""

    def __init__(self, db: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._waiting: dict[tuple[UUID, UUID], tuple[float, float]] = {}
        self._outage = OutageLog("deliveries not recorded yet", end="deliveries are recorded again")
        self.dropped = 0
        """How many were not recorded because too many waited."""

    def open_page(self) -> float:
        """Return when a page opens, for what is written to it."""
        return self._clock()

    def note(self, profile_id: UUID, match_id: UUID, *, opened: float) -> None:
        """Remember that a match was written to an open page of a person just now."""
        if len(self._waiting) >= _MAX_KEPT:
            self.dropped += 1
            return
        self._waiting.setdefault((profile_id, match_id), (self._clock(), opened))

    def note_seen(self, profile_id: UUID, match_ids: Iterable[UUID]) -> None:
        """Remember which matches are on a page that opens just now."""
        opened = self.open_page()
        for match_id in match_ids:
            self.note(profile_id, match_id, opened=opened)

    async def run(self) -> None:
        """Record what was noted, until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_EVERY_S)
            try:
                await self.flush()
            except AutomatchError as exc:
                self._outage.failed(exc.code, waiting=len(self._waiting), dropped=self.dropped)

    async def close(self) -> None:
        """Record what was noted, if the database answers."""
        with suppress(AutomatchError):
            await self.flush()

    async def flush(self) -> None:
        """Record what was noted.

        Raises:
            DatabaseUnavailableError: it stays noted.
        """
        while batch := dict(list(self._waiting.items())[:_BATCH]):
            async with self._db.transaction() as conn:
                # Not before: to wait for a connection would make every page look younger.
                now = self._clock()
                await record_deliveries(
                    conn,
                    [
                        Delivery(*key, written_ago_s=now - written, opened_ago_s=now - opened)
                        for key, (written, opened) in batch.items()
                    ],
                )
            for key in batch:
                del self._waiting[key]
            self._outage.ended()
