"""Why a worker pauses: a fault of the machine, which no job is the cause of."""

from __future__ import annotations

import time
from uuid import UUID

import structlog

from automatch.errors import AutomatchError
from automatch.errors.store import DatabaseUnavailableError, StoreError
from automatch.store.database import Database, describe_error
from automatch.store.queue import queue

_FORGET_S = 180.0
"""A fault that was not met for this long is no longer told; `automatch doctor` waits as long."""

log = structlog.get_logger(__name__)


class WorkerFault:
    """The fault for which a worker pauses, if any; it is logged, and stored for operators."""

    def __init__(self, db: Database, worker_id: UUID) -> None:
        self._db = db
        self._worker_id = worker_id
        self._reason: str | None = None
        self._needs_job = False
        self._is_reported = False
        self._met_at = 0.0

    def __bool__(self) -> bool:
        return self._reason is not None

    @property
    def reason(self) -> str | None:
        """What is wrong; None when nothing is, or nothing has been for some minutes."""
        return self._reason if time.monotonic() - self._met_at < _FORGET_S else None

    async def note(self, error: AutomatchError, *, in_job: bool) -> None:
        """Say why the worker pauses.

        Args:
            error: what was raised.
            in_job: whether a claim worked before, so that only a job can show that it is over.
        """
        reason = describe_error(error)
        if reason != self._reason:
            log.error("worker has met a fault", code=error.code, reason=reason, exc_info=error)
        self._reason, self._needs_job, self._met_at = reason, in_job, time.monotonic()
        # Who gets no answer has nobody to tell it to.
        if not isinstance(error, DatabaseUnavailableError) or error.__cause__ is not None:
            await self._report(reason)

    async def clear(self, *, job_completed: bool) -> None:
        """Note that a claim worked, or that a job was completed."""
        if self._reason is None or (self._needs_job and not job_completed):
            return
        log.info("fault is over; worker goes on")
        self._reason = None
        if self._is_reported:
            await self._report(None)

    async def _report(self, message: str | None) -> None:
        try:
            async with self._db.connection() as conn:
                await queue.report_worker_fault(conn, self._worker_id, message)
            self._is_reported = message is not None
        except StoreError as exc:
            log.warning("fault not reported", code=exc.code)
