"""Keeps who was shown whose photo, without a transaction for each photo that is shown."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, date, datetime
from uuid import UUID

import structlog

from automatch.errors import AutomatchError
from automatch.photos.store import Size
from automatch.store.database import Database
from automatch.store.photos import photo_views
from automatch.store.photos.photo_views import SeenPhoto

_FLUSH_EVERY_S = 5.0
_BATCH = 1000
_MAX_KEPT = 50_000
"""Views that wait for the database, and views of today that are known to be recorded."""

log = structlog.get_logger(__name__)


class PhotoViews:
    """Collects views, and records them every few seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: dict[tuple[UUID, UUID, bool], SeenPhoto] = {}
        self._recorded: dict[tuple[UUID, UUID, bool, date], None] = {}

    def note(self, viewer_id: UUID, face_id: UUID, size: Size) -> None:
        """Remember that a photo is shown to somebody, who may be its owner."""
        key = (viewer_id, face_id, size == "full")
        now = datetime.now(UTC)
        # More than the database takes is lost rather than kept without end.
        if (*key, now.date()) not in self._recorded and len(self._waiting) < _MAX_KEPT:
            self._waiting.setdefault(key, SeenPhoto(*key, seen_at=now))

    async def run(self) -> None:
        """Record what was noted, until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_EVERY_S)
            try:
                await self.flush()
            except AutomatchError as exc:
                log.warning("views of photos not recorded yet", error=exc.code)

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
                await photo_views.record_views(conn, list(batch.values()))
            for key, seen in batch.items():
                del self._waiting[key]
                self._recorded[(*key, seen.seen_at.date())] = None
            while len(self._recorded) > _MAX_KEPT:
                del self._recorded[next(iter(self._recorded))]
