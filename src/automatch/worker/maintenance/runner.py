"""Runs the maintenance tasks at their intervals, in one worker of all.

The workers agree on a leader; another takes over when it stops, or falls silent. Two may run the
same task at once meanwhile: rows are locked with `skip locked`, and a file may be deleted twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import psycopg
import structlog

from automatch.background import run_together
from automatch.errors import AutomatchError
from automatch.ops.backup.erasures import ErasureCopy
from automatch.photos.store import PhotoStore
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.accounts import notifications
from automatch.store.database import Connection, Database
from automatch.store.operation import history
from automatch.store.protection.erasure_log import ErasureLog
from automatch.store.queue import queue
from automatch.worker.lookout import Lookout
from automatch.worker.maintenance.batches import run_in_batches
from automatch.worker.maintenance.matching import MatchingTasks
from automatch.worker.maintenance.photos import PhotoTasks
from automatch.worker.maintenance.retention import RetentionTasks
from automatch.worker.scheduled_backup import ScheduledBackup

_ERASE_EVERY_S = 5.0
_CLEAN_EVERY_S = 3600.0
_FORGET_EVERY_S = 300.0
_BACKUP_EVERY_S = 60.0
_RECORD_EVERY_S = 60.0
_IDLE_SWEEPS = 6
"""Between two looks for work that is rare, and for a leader's place, in units of `sweep_s`."""
_LEAD_SWEEPS = 3
"""How long a leader that falls silent goes on leading, in units of `sweep_s`."""

log = structlog.get_logger(__name__)


class MaintenanceRunner:
    """Runs the tasks, each at its own interval.

    Args:
        session_s: a session that is unused for this long has ended.
        erasure_log: the file with a line for each erased person.
        erasure_copy: copies it beside the backups.
        backup: makes backups at their time.
        erase_inactive: erases somebody who was warned and did not come back.
        mails: whether there is a mail server, so that people can be warned.
    """

    def __init__(
        self,
        db: Database,
        photos: PhotoStore,
        worker: WorkerSettings,
        retention: RetentionSettings,
        *,
        session_s: float = 30 * 86400,
        erasure_log: ErasureLog | None = None,
        erasure_copy: ErasureCopy | None = None,
        backup: ScheduledBackup | None = None,
        erase_inactive: Callable[[UUID], Awaitable[object]] | None = None,
        mails: bool = False,
    ) -> None:
        self._db = db
        self._worker = worker
        self._backup = backup
        self._mails = mails
        self.matching = MatchingTasks(db)
        self.photos = PhotoTasks(db, photos, retention)
        self.retention = RetentionTasks(
            db,
            retention,
            session_s=session_s,
            erasure_log=erasure_log,
            erasure_copy=erasure_copy,
            erase_inactive=erase_inactive,
            mails=mails,
        )
        self._id = uuid4()
        self._leading = asyncio.Event()
        self._may_lead = False

    async def run(self, lookout: Lookout | None = None) -> None:
        """Run every task at its interval while this worker leads, until cancelled.

        *lookout* tells when no worker does.
        """
        often, rarely = self._worker.sweep_s, _CLEAN_EVERY_S
        tasks: list[tuple[Callable[[], Awaitable[object]], float]] = [
            (self.matching.enqueue_reruns, often),
            (self.matching.detect_duplicates, often),
            (self.matching.settle_changes, often),
            (self.matching.rescore_matches, rarely),
            (self.matching.rescore_for_model, often),
            (self.photos.erase_photos, _ERASE_EVERY_S),
            (self.retention.log_erasures, _ERASE_EVERY_S),
            (self.retention.copy_erasures, _ERASE_EVERY_S),
            (self.back_up, _BACKUP_EVERY_S),
            (self.retention.erase_inactive_people, rarely),
            (self.enqueue_digests, _RECORD_EVERY_S),
            (self.retention.delete_old_matches, rarely),
            (self.retention.clean_up_jobs, rarely),
            (self.retention.delete_expired_rows, rarely),
            (self.record_history, _RECORD_EVERY_S),
            (self.retention.clean_up_rate_limits, _FORGET_EVERY_S),
            (self.photos.clean_up_photos, rarely),
            (self.photos.erase_unanswered_photos, rarely),
            (self.matching.check_recall, rarely),
        ]
        repeated = {task.__name__: self._repeat(task, every_s) for task, every_s in tasks}
        try:
            await run_together(lead_maintenance=self._lead(lookout or Lookout()), **repeated)
        finally:
            await self._step_down()

    async def _lead(self, lookout: Lookout) -> None:
        lease_s = _LEAD_SWEEPS * self._worker.sweep_s
        while True:
            # Before it is answered: the answer may be lost when this is cancelled.
            self._may_lead = True
            try:
                async with self._db.connection() as conn:
                    leads = await queue.lead_maintenance(conn, self._id, lease_s)
                    if leads:
                        # With the same connection: to take one costs two transactions more.
                        await self._sweep_leases(conn)
            except AutomatchError:
                leads = False
            self._may_lead = leads
            if leads:
                self._leading.set()
                await asyncio.sleep(self._worker.sweep_s)
            else:
                self._leading.clear()
                longest_s = _IDLE_SWEEPS * self._worker.sweep_s
                await lookout.wait(longest_s, lambda look: not look.has_leader)

    async def _step_down(self) -> None:
        if self._may_lead:
            with contextlib.suppress(AutomatchError):
                async with self._db.connection() as conn:
                    await queue.lead_maintenance(conn, self._id, 0)

    async def _repeat(self, task: Callable[[], Awaitable[object]], every_s: float) -> None:
        """Run a task at its interval; one that returns False has found nothing and waits longer."""
        while True:
            await self._leading.wait()
            found = None
            try:
                found = await task()
            except Exception:
                # One that cannot be done is no reason to leave the others undone.
                log.exception("maintenance task failed", task=task.__name__)
            await asyncio.sleep(every_s * (_IDLE_SWEEPS if found is False else 1))

    async def _sweep_leases(self, conn: Connection) -> None:
        """Release jobs whose lease has expired."""
        try:
            count = await queue.sweep_jobs(conn)
        except psycopg.DatabaseError:
            # What cannot be swept is no reason to leave other maintenance undone.
            log.exception("expired leases not released")
            return
        if count:
            log.warning("expired leases released", count=count)

    async def back_up(self) -> None:
        """Make a backup when it is due."""
        if self._backup is not None:
            await self._backup.run_if_due(self._db)

    async def enqueue_digests(self) -> None:
        """Have mails sent to people who want them and have something new."""
        if self._mails:
            await run_in_batches(self._db, notifications.enqueue_digests)

    async def record_history(self) -> None:
        """Keep the numbers of the last minutes, and of those when no worker ran."""
        await run_in_batches(self._db, history.record_history)
