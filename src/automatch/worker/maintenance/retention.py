"""Maintenance of what is kept for a time only, and of the log of who was erased."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog

from automatch.errors import AutomatchError
from automatch.ops.backup.erasures import ErasureCopy
from automatch.settings.storage import RetentionSettings
from automatch.store.accounts import rate_limits
from automatch.store.database import Database
from automatch.store.protection import erasures, retention
from automatch.store.protection.erasure_log import ErasureLog
from automatch.store.queue import queue
from automatch.worker.maintenance.batches import run_in_batches

log = structlog.get_logger(__name__)


class RetentionTasks:
    """Deletes rows and people whose time is over, as the settings say.

    Args:
        session_s: a session that is unused for this long has ended.
        erasure_log: the file with a line for each erased person.
        erasure_copy: copies it beside the backups.
        erase_inactive: erases somebody who was warned and did not come back.
        mails: whether there is a mail server, so that people can be warned.
    """

    def __init__(
        self,
        db: Database,
        periods: RetentionSettings,
        *,
        session_s: float,
        erasure_log: ErasureLog | None,
        erasure_copy: ErasureCopy | None,
        erase_inactive: Callable[[UUID], Awaitable[object]] | None,
        mails: bool,
    ) -> None:
        self._db = db
        self._periods = periods
        self._session_s = session_s
        self._erasure_log = erasure_log
        self._erasure_copy = erasure_copy
        self._erase_inactive = erase_inactive
        self._mails = mails

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

    async def erase_inactive_people(self) -> None:
        """Warn people who were not here for long, and erase those who were warned long ago."""
        periods = self._periods
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

    async def delete_old_matches(self) -> None:
        """Delete matches that are kept for a time only, where that is set."""
        if days := self._periods.matches_days:
            total = await run_in_batches(
                self._db, lambda conn: retention.delete_old_matches(conn, days)
            )
            if total:
                log.info("old matches deleted", count=total)

    async def clean_up_jobs(self) -> None:
        """Delete old finished jobs, a few at a time so that nobody waits for it."""
        total = await run_in_batches(
            self._db, lambda conn: queue.clean_up_jobs(conn, self._periods.jobs_days)
        )
        if total:
            log.info("old jobs deleted", count=total)

    async def delete_expired_rows(self) -> None:
        """Delete old sessions, links, mails, audit entries, cron runs and answers to SQL."""
        total = await run_in_batches(
            self._db,
            lambda conn: retention.delete_expired_rows(
                conn,
                sessions_s=self._session_s,
                audit_log_days=self._periods.audit_log_days,
                cron_runs_days=self._periods.cron_runs_days,
                net_responses_s=self._periods.net_responses_s,
                mails_s=self._periods.mails_s,
                photo_views_days=self._periods.photo_views_days,
                cases_days=self._periods.cases_days,
                case_texts_days=self._periods.case_texts_days,
            ),
        )
        if total:
            log.info("expired rows deleted", count=total)

    async def clean_up_rate_limits(self) -> None:
        """Forget by whom something was done, once it does not count any more."""
        await run_in_batches(self._db, rate_limits.clean_up)
