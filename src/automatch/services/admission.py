"""Whether another photo is taken in: asked before its body is read, and of no cost to an upload.

What is accepted is finished, so there must be an end to accepting: past a bound of waiting jobs, or
with little room on a disk, uploads are refused with a time to come back. The database and the disks
are looked at once a second at most; in between, this process counts what it takes in itself.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from automatch.errors.store import QueueFullError, StorageFullError
from automatch.settings import Settings
from automatch.store import queue
from automatch.store.database import Database
from automatch.store.disk import free_bytes, list_data_folders

FRESH_S = 1.0


class Admission:
    """Says no in time."""

    def __init__(
        self,
        db: Database,
        *,
        max_waiting: int,
        folders: Sequence[Path],
        min_free_mb: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._max_waiting = max_waiting
        self._folders = folders
        self._min_free = min_free_mb * 1024**2
        self._clock = clock
        self._waiting = 0
        self._has_room = True
        self._stale_at = -math.inf
        self._looking = asyncio.Lock()

    async def check(self) -> None:
        """Return when there is room for another photo.

        Raises:
            QueueFullError: too many photos wait already.
            StorageFullError: a disk is nearly full.
            DatabaseUnavailableError: the database does not answer.
        """
        if self._clock() >= self._stale_at:
            async with self._looking:
                # Those who waited for the lock find that another has looked.
                if self._clock() >= self._stale_at:
                    await self._look()
        if not self._has_room:
            raise StorageFullError
        if self._waiting >= self._max_waiting:
            raise QueueFullError

    def took(self) -> None:
        """Count a photo that was taken in."""
        self._waiting += 1

    async def _look(self) -> None:
        free = await asyncio.to_thread(free_bytes, self._folders)
        async with self._db.connection() as conn:
            self._waiting = await queue.count_pending_jobs(conn, self._max_waiting)
        self._has_room = free >= self._min_free
        self._stale_at = self._clock() + FRESH_S


def make_admission(settings: Settings, db: Database) -> Admission:
    """Return the guard that *settings* ask for."""
    return Admission(
        db,
        max_waiting=settings.upload.max_waiting,
        folders=list_data_folders(settings),
        min_free_mb=settings.retention.min_free_mb,
    )
