"""Whether another photo is accepted: checked before its body is read, at no cost to an upload.

Every accepted photo is processed, so there must be a limit: past a number of pending jobs, or with
little room on a disk, uploads are refused with a time to try again. The database and the disks are
checked at most once a second; in between, this process counts what it accepts itself.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from automatch.errors.store import QueueFullError, StorageFullError
from automatch.settings import Settings
from automatch.store.database import Database
from automatch.store.operation.disk import free_bytes, list_data_folders
from automatch.store.queue import queue

CHECK_INTERVAL_S = 1.0


class Admission:
    """Refuses photos that cannot be processed soon or stored at all."""

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
        self._pending = 0
        self._has_room = True
        self._stale_at = -math.inf
        self._checking = asyncio.Lock()

    async def check(self) -> None:
        """Return when there is room for another photo.

        Raises:
            QueueFullError: too many photos are waiting already.
            StorageFullError: a disk is nearly full.
            DatabaseUnavailableError: the database does not answer.
        """
        await self.check_space()
        if self._pending >= self._max_waiting:
            raise QueueFullError

    async def check_space(self) -> None:
        """Return when the disks have room for another photo, however many photos wait.

        Raises:
            StorageFullError: a disk is nearly full.
            DatabaseUnavailableError: the database does not answer.
        """
        if self._clock() >= self._stale_at:
            async with self._checking:
                # Another request may have checked while this one waited for the lock.
                if self._clock() >= self._stale_at:
                    await self._refresh()
        if not self._has_room:
            raise StorageFullError

    def count_accepted(self) -> None:
        """Count a photo that was accepted."""
        self._pending += 1

    async def _refresh(self) -> None:
        free = await asyncio.to_thread(free_bytes, self._folders)
        async with self._db.connection() as conn:
            self._pending = await queue.count_pending_jobs(conn, self._max_waiting)
        self._has_room = free >= self._min_free
        self._stale_at = self._clock() + CHECK_INTERVAL_S


def make_admission(settings: Settings, db: Database) -> Admission:
    """Return the admission control that *settings* ask for."""
    return Admission(
        db,
        max_waiting=settings.upload.max_waiting,
        folders=list_data_folders(settings),
        min_free_mb=settings.retention.min_free_mb,
    )
