"""Maintenance tasks that one worker runs at intervals: expired leases, deleted photos, old jobs.

The workers agree on a leader; another takes over when it stops, or falls silent. Two may run the
same task at once meanwhile: rows are locked with `skip locked`, and a file may be deleted twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID, uuid4

import psycopg
import structlog

from automatch.background import run_together
from automatch.errors import AutomatchError
from automatch.model.people import SERVICE
from automatch.ops.backup.erasures import ErasureCopy
from automatch.photos.store import ListedPhoto, PhotoStore
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.accounts import notifications, rate_limits
from automatch.store.database import Connection, Database
from automatch.store.matching import model_changes, scales, search, thresholds
from automatch.store.operation import history
from automatch.store.people import schools
from automatch.store.photos import faces
from automatch.store.protection import duplicates, erasures, retention
from automatch.store.protection.erasure_log import ErasureLog
from automatch.store.queue import queue
from automatch.worker.lookout import Lookout
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
_BETWEEN_BATCHES_S = 0.05
_COPIES_PAGES = 50
"""Pages of copies that one sweep looks at: of a million photos each has its turn once a day."""
_AUDIT_DAYS = 30
_MIN_RECALL = 0.999

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
        self._photos = photos
        self._worker = worker
        self._retention = retention
        self._session_s = session_s
        self._erasure_log = erasure_log
        self._erasure_copy = erasure_copy
        self._backup = backup
        self._erase_inactive = erase_inactive
        self._mails = mails
        self._id = uuid4()
        self._leading = asyncio.Event()
        self._may_lead = False

    async def run(self, lookout: Lookout | None = None) -> None:
        """Run every task at its interval while this worker leads, until cancelled.

        *lookout* tells when no worker does.
        """
        often, rarely = self._worker.sweep_s, _CLEAN_EVERY_S
        tasks: list[tuple[Callable[[], Awaitable[object]], float]] = [
            (self.enqueue_reruns, often),
            (self.detect_duplicates, often),
            (self.settle_changes, often),
            (self.rescore_matches, rarely),
            (self.rescore_for_model, often),
            (self.erase_photos, _ERASE_EVERY_S),
            (self.log_erasures, _ERASE_EVERY_S),
            (self.copy_erasures, _ERASE_EVERY_S),
            (self.back_up, _BACKUP_EVERY_S),
            (self.erase_inactive_people, rarely),
            (self.enqueue_digests, _RECORD_EVERY_S),
            (self.delete_old_matches, rarely),
            (self.clean_up_jobs, rarely),
            (self.delete_expired_rows, rarely),
            (self.record_history, _RECORD_EVERY_S),
            (self.clean_up_rate_limits, _FORGET_EVERY_S),
            (self.clean_up_photos, rarely),
            (self.erase_unanswered_photos, rarely),
            (self.check_recall, rarely),
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

    async def enqueue_reruns(self) -> bool:
        """Enqueue some photos of a rerun for everybody, while the queue is short."""
        async with self._db.connection() as conn:
            count = await thresholds.enqueue_reruns(conn)
        if count:
            log.info("photos queued for a rerun", count=count)
        return count > 0

    async def detect_duplicates(self) -> bool:
        """Compare new photos with all of their school, while no job is pending."""
        flagged = 0

        async def compare(conn: Connection) -> int:
            nonlocal flagged
            checked, new = await duplicates.detect_duplicates(conn)
            flagged += new
            return checked

        checked = await self._in_batches(compare)
        if flagged:
            log.info(
                "accounts that look like one person; see `automatch duplicates`", pairs=flagged
            )
        return checked > 0

    async def settle_changes(self) -> bool:
        """Let people in again whose change of school or gender has settled."""
        count = await self._in_batches(schools.settle_changes)
        if count:
            log.info("changes of people settled", count=count)
        return count > 0

    async def rescore_matches(self) -> None:
        """Finish scoring matches with a new scale if the command that started it was stopped."""
        total = await self._in_batches(scales.rescore_matches)
        if total:
            log.info("matches rescored", count=total)

    async def rescore_for_model(self) -> bool:
        """Rescore matches after a model change; delete those that only the old model made."""
        rechecked = await self._in_batches(model_changes.recheck_duplicates)
        renewed = await self._in_batches(model_changes.rescore_matches_for_model)
        dropped = await self._in_batches(model_changes.delete_unrescored_matches)
        if renewed or dropped:
            log.info("matches rescored for the model", checked=renewed, deleted=dropped)
        return rechecked + renewed + dropped > 0

    async def erase_photos(self) -> None:
        """Delete the files of faces that were deleted; those that cannot be are tried again."""
        erased = 0
        failed: dict[str, str] = {}
        while True:
            async with self._db.as_user(SERVICE) as conn:
                paths = await faces.list_erasures(conn)
            if not paths:
                break
            errors = await self._photos.erase(paths)
            async with self._db.as_user(SERVICE) as conn:
                await faces.forget_erasures(conn, [path for path in paths if path not in errors])
                await faces.postpone_erasures(conn, errors)
            erased += len(paths) - len(errors)
            failed |= errors
        if erased:
            log.info("photos erased", count=erased)
        if failed:
            log.error("photos not erased", count=len(failed), reasons=sorted(set(failed.values())))

    async def log_erasures(self) -> None:
        """Write erasures that no server wrote into the log, such as one by SQL."""
        if self._erasure_log is not None:
            await erasures.write_log(self._db, self._erasure_log)

    async def copy_erasures(self) -> bool:
        """Copy the log of erasures beside the backups, where it has grown."""
        try:
            return self._erasure_copy is not None and await self._erasure_copy.refresh()
        except AutomatchError as exc:
            log.error("erasures not copied beside the backups", reason=exc.message)  # noqa: TRY400
            return False

    async def back_up(self) -> None:
        """Make a backup when it is due."""
        if self._backup is not None:
            await self._backup.run_if_due(self._db)

    async def erase_inactive_people(self) -> None:
        """Warn people who were not here for long, and erase those who were warned long ago."""
        periods = self._retention
        if not periods.inactive_days or self._erase_inactive is None:
            return
        async with self._db.connection() as conn:
            warned = await retention.warn_inactive_people(
                conn,
                periods.inactive_days,
                mails=self._mails,
                without_mail=periods.inactive_without_mail,
            )
        erased = 0
        while True:
            async with self._db.connection() as conn:
                people = await retention.list_people_to_erase(
                    conn,
                    periods.inactive_days,
                    periods.inactive_grace_days,
                    without_mail=periods.inactive_without_mail,
                )
            if not people:
                break
            for person_id in people:
                await self._erase_inactive(person_id)
            erased += len(people)
        if warned or erased:
            log.info("inactive people", warned=warned, erased=erased)

    async def enqueue_digests(self) -> None:
        """Have mails sent to people who want them and have something new."""
        if self._mails:
            await self._in_batches(notifications.enqueue_digests)

    async def delete_old_matches(self) -> None:
        """Delete matches that are kept for a time only, where that is set."""
        if days := self._retention.matches_days:
            total = await self._in_batches(lambda conn: retention.delete_old_matches(conn, days))
            if total:
                log.info("old matches deleted", count=total)

    async def clean_up_jobs(self) -> None:
        """Delete old finished jobs, a few at a time so that nobody waits for it."""
        total = await self._in_batches(
            lambda conn: queue.clean_up_jobs(conn, self._retention.jobs_days)
        )
        if total:
            log.info("old jobs deleted", count=total)

    async def delete_expired_rows(self) -> None:
        """Delete old sessions, links, mails, audit entries, cron runs and answers to SQL."""
        total = await self._in_batches(
            lambda conn: retention.delete_expired_rows(
                conn,
                sessions_s=self._session_s,
                audit_log_days=self._retention.audit_log_days,
                cron_runs_days=self._retention.cron_runs_days,
                net_responses_s=self._retention.net_responses_s,
                mails_s=self._retention.mails_s,
                photo_views_days=self._retention.photo_views_days,
                cases_days=self._retention.cases_days,
                case_texts_days=self._retention.case_texts_days,
            )
        )
        if total:
            log.info("expired rows deleted", count=total)

    async def record_history(self) -> None:
        """Keep the numbers of the last minutes, and of those when no worker ran."""
        await self._in_batches(history.record_history)

    async def clean_up_rate_limits(self) -> None:
        """Forget by whom something was done, once it does not count any more."""
        await self._in_batches(rate_limits.clean_up)

    async def erase_unanswered_photos(self) -> None:
        """Erase photos whose owners have not said within a day which face is theirs."""
        total = await self._in_batches(
            lambda conn: queue.erase_unanswered_photos(conn, self._retention.refused_uploads_s)
        )
        if total:
            log.info("unanswered photos erased", count=total)

    async def check_recall(self) -> None:
        """Warn when searches miss people, and delete old audits."""
        async with self._db.connection() as conn:
            stats = await search.read_recall(conn)
            await search.clean_up_audits(conn, _AUDIT_DAYS)
        if stats.recall is not None and stats.recall < _MIN_RECALL:
            log.warning(
                "searches miss people; see `automatch tune`",
                recall=round(stats.recall, 5),
                audits=stats.audits,
                short_answers=stats.short_answers,
            )

    async def clean_up_photos(self) -> None:
        """Delete uploads that nobody needs any more, and copies without a face.

        All that was uploaded and not analyzed lies apart. Of the copies some are looked at, from
        where the last time ended: those without a face are of workers that were killed while the
        face was deleted, or of a database that was restored.
        """
        failed: dict[str, str] = {}
        after = ""
        while page := await self._photos.list_page("uploads", after):
            after = page[-1].path
            failed |= await self._clean_up_page(page)
            await asyncio.sleep(_BETWEEN_BATCHES_S)
        async with self._db.as_user(SERVICE) as conn:
            after = await faces.read_sweep_position(conn)
        for _ in range(_COPIES_PAGES):
            page = await self._photos.list_page("copies", after)
            if page:
                failed |= await self._clean_up_page(page, uploads=False)
            after = page[-1].path if page else ""
            async with self._db.as_user(SERVICE) as conn:
                await faces.move_sweep_position(conn, after)
            if not page:
                break
            await asyncio.sleep(_BETWEEN_BATCHES_S)
        if failed:
            log.error(
                "stray photos not deleted", count=len(failed), reasons=sorted(set(failed.values()))
            )

    async def _clean_up_page(
        self, page: Sequence[ListedPhoto], *, uploads: bool = True
    ) -> dict[str, str]:
        old = {photo.path for photo in page if photo.age_s >= self._retention.orphan_photos_s}
        refused = {
            photo.path
            for photo in page
            if uploads and photo.age_s >= self._retention.refused_uploads_s
        }
        async with self._db.as_user(SERVICE) as conn:
            old -= await faces.list_known_photos(conn, list(old))
            refused -= old
            refused -= await faces.list_unfinished_photos(conn, list(refused))
        failed = await self._photos.erase(old)
        for path in refused:
            try:
                await self._photos.drop_upload(path)
            except (AutomatchError, OSError) as exc:
                failed[path] = str(exc)
        return failed

    async def _in_batches(self, run_batch: Callable[[Connection], Awaitable[int]]) -> int:
        """Run batches until one does nothing; return the sum of their counts."""
        total = 0
        while True:
            async with self._db.connection() as conn:
                count = await run_batch(conn)
            if not count:
                return total
            total += count
            await asyncio.sleep(_BETWEEN_BATCHES_S)
