"""The match generator: wait until the jobs that are pending now have ended.

Workers process the jobs, mostly long before a schedule calls this. So the call lists the pending
jobs, gives the workers some time and reports the result of those jobs. When no worker is alive it
starts one on demand, as a process of its own: no photo is analyzed in this process.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

import structlog

from automatch.errors.store import JobsUnfinishedError, QueuePausedError
from automatch.store.database import Database
from automatch.store.matching import match_generator

_MAX_JOBS = 100
"""One call waits for at most so many jobs."""
_WORKER_WAIT_S = 2.0
"""Workers have this long to claim a job before one is started on demand."""
_ANSWER_WITHIN_S = 25.0
"""The answer is given within this time, whether the jobs have ended or not."""
_POLL_MIN_S = 0.05
_POLL_MAX_S = 0.5

log = structlog.get_logger(__name__)


class OnDemandWorker(Protocol):
    """A worker that can be started when it is needed."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Have it work while the block lasts."""
        ...


@dataclass(frozen=True, slots=True)
class DrainedQueue:
    """The result of the jobs that were pending."""

    had_jobs: bool
    """False when no job was pending."""
    match_count: int


async def drain_queue(db: Database, worker: OnDemandWorker) -> DrainedQueue:
    """Wait until the jobs that are pending now have ended; without a worker, start *worker*.

    Raises:
        QueuePausedError: jobs are pending, and the queue is paused.
        JobsUnfinishedError: jobs are pending, and none of them ended in time.
    """
    async with db.connection() as conn:
        job_ids = await match_generator.list_due_jobs(conn, _MAX_JOBS)
    if not job_ids:
        return DrainedQueue(had_jobs=False, match_count=0)
    started_at = time.monotonic()
    poll_s = _POLL_MIN_S
    async with AsyncExitStack() as stack:
        is_started = False
        while True:
            async with db.connection() as conn:
                progress = await match_generator.load_progress(conn, job_ids)
            waited_s = time.monotonic() - started_at
            if not progress.open or progress.paused or waited_s > _ANSWER_WITHIN_S:
                break
            if not is_started and waited_s > _WORKER_WAIT_S and not progress.worker_is_alive:
                log.warning("no worker is alive; starting one", waiting=progress.open)
                await stack.enter_async_context(worker.running())
                is_started = True
            await asyncio.sleep(poll_s)
            poll_s = min(2 * poll_s, _POLL_MAX_S)
    if progress.open == len(job_ids):
        raise QueuePausedError if progress.paused else JobsUnfinishedError
    return DrainedQueue(had_jobs=True, match_count=progress.matches)
