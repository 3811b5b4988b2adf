"""Backups at their time, each in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL

import structlog

from automatch.settings import Settings
from automatch.store.database import Database
from automatch.store.installation import backups
from automatch.worker.on_demand import command_environment

log = structlog.get_logger(__name__)


class ScheduledBackup:
    """Starts `automatch backup` whenever it is due."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def run_if_due(self, db: Database) -> bool:
        """Make a backup if it is time; return whether it was.

        Raises:
            OSError: no process can be started.
        """
        times = self._settings.backup
        async with db.connection() as conn:
            if not await backups.is_due(conn, times.every_h, times.at_hour):
                return False
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "automatch", "backup", "make", "--scheduled"),
            stdin=DEVNULL,
            stdout=DEVNULL,
            env=command_environment(self._settings),
            # Ctrl-C in a terminal reaches only this process.
            start_new_session=True,
        )
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        if status:
            log.error("scheduled backup failed; see `automatch doctor`", status=status)
        return True
