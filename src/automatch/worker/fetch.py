"""Fetching jobs: what a worker claims next, and how it waits while there is nothing to claim.

One batch runner at a time waits for a notification, first for its turn among the idle workers; the
others of its worker queue behind it. A claim takes as
many jobs as fill `batch_s`, judged by how long the jobs before took. It starts at the position
where the last claim stopped, because the rows before that may be dead and still in the index. Jobs
that appear before that position (a slow commit, a released job) are found by a claim from position
0, once a second and whenever a claim finds none.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from automatch.errors import AutomatchError
from automatch.errors.store import StoreError
from automatch.model.jobs import ClaimedJob
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.notify import JobNotifier, Look
from automatch.store.queue import queue
from automatch.store.queue.queue import ClaimRequest
from automatch.worker.fault import WorkerFault
from automatch.worker.leases import Leases
from automatch.worker.lookout import Lookout
from automatch.worker.observer import JobObserver

_FULL_CLAIM_S = 1.0
"""Seconds between two claims that start at position 0."""
_POLL_MIN_S = 0.02
_POLL_MAX_S = 0.25
"""Shortest and longest pause while a job is due that this worker may not claim."""
_TURN_MAX_S = 27.0
_TURN_POLLS = 6
"""How long an idle worker waits in line between two looks: so many `poll_s`, and never longer than
this, because the snapshot of the wait keeps vacuum from removing dead rows."""
_TURN_SPREAD = 0.7
"""The shortest such wait as a share of the longest: workers that start together drift apart."""
_POLL_WITHOUT_NOTIFY_S = 1.0
"""Longest pause while no notification can arrive."""
_INITIAL_JOB_S = 0.05
"""How long a job is assumed to take before the first batch is done."""

log = structlog.get_logger(__name__)


class JobFetcher:
    """Claims jobs for all batch runners of one worker."""

    def __init__(
        self,
        db: Database,
        notifier: JobNotifier,
        leases: Leases,
        worker_id: UUID,
        settings: WorkerSettings,
        *,
        observer: JobObserver,
        lookout: Lookout,
    ) -> None:
        self._db = db
        self._observer = observer
        self._lookout = lookout
        self._notifier = notifier
        self._leases = leases
        self._worker_id = worker_id
        self._settings = settings
        self._closed = asyncio.Event()
        self._woken = asyncio.Event()
        self._fetch_lock = asyncio.Lock()
        self._min_position = 0
        self._full_claim_at = 0.0
        self._job_s = _INITIAL_JOB_S
        self._backoff_s = 0.0
        self._poll_s = _POLL_MIN_S
        self.fault = WorkerFault(db, worker_id)

    def close(self) -> None:
        """Claim nothing more, and end every wait."""
        self._closed.set()
        self._woken.set()

    def wake(self) -> None:
        """Have the waiting runner claim again: a job was scheduled earlier than its wait ends."""
        self._woken.set()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def next_claim(self) -> ClaimRequest | None:
        """Return what to claim next; None once the fetcher is closed."""
        if self.is_closed:
            return None
        limit = round(self._settings.batch_s / self._job_s)
        now = time.monotonic()
        min_position = self._min_position
        if now - self._full_claim_at > _FULL_CLAIM_S:
            min_position, self._full_claim_at = 0, now
        return ClaimRequest(
            self._worker_id,
            1 if self.fault else min(max(limit, 1), self._settings.batch),
            self._settings.lease_s,
            min_position,
        )

    def register_leases(self, jobs: Sequence[ClaimedJob]) -> None:
        """Renew the leases of jobs that were just claimed."""
        self._leases.hold(jobs)
        self._observer.claimed(jobs)
        if jobs:
            self._min_position = jobs[0].position

    def record_duration(self, jobs: int, seconds: float) -> None:
        """Update the estimate of how long a job takes from a batch that is done."""
        if not jobs:
            return
        self._job_s = max((self._job_s + seconds / jobs) / 2, 1e-5)

    async def next_batch(self) -> list[ClaimedJob]:
        """Wait for jobs and claim them; empty once the fetcher is closed."""
        async with self._fetch_lock:
            self._poll_s = _POLL_MIN_S
            batch: list[ClaimedJob] = []
            # Every wait ends with a claim, so only the first round needs one of its own.
            first = True
            while not self.is_closed:
                try:
                    if first:
                        batch, _ = await self._claim()
                    first = False
                    batch = batch or await self._wait()
                except StoreError as exc:
                    await self.pause(exc, in_job=False)
                else:
                    if batch:
                        return batch
            return []

    async def wait_unless_closed(self, condition: Coroutine[None, None, None]) -> None:
        """Wait for *condition*, or until the fetcher is closed."""
        waiting = asyncio.create_task(condition)
        closing = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait({waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
        finally:
            closing.cancel()
            waiting.cancel()
            await asyncio.gather(waiting, closing, return_exceptions=True)

    async def pause(self, error: AutomatchError, *, in_job: bool) -> None:
        """Pause after an error that no job is the cause of, longer each time; see `WorkerFault`.

        Until it is over, one job at a time is tried.
        """
        await self.fault.note(error, in_job=in_job)
        self._backoff_s = min(max(2 * self._backoff_s, 0.5), self._settings.outage_pause_max_s)
        self._observer.paused(error)
        log.warning("worker pauses", code=error.code, seconds=self._backoff_s)
        try:
            async with asyncio.timeout(self._backoff_s * random.uniform(0.5, 1)):  # noqa: S311  spreads workers, keeps no secret
                await self._closed.wait()
        except TimeoutError:
            return

    async def record_success(self, *, job_completed: bool) -> None:
        """Note that a claim worked or a job was completed, and start with a short pause again."""
        await self.fault.clear(job_completed=job_completed)
        # A claim says nothing of the statements that fail after it.
        if not self.fault:
            self._backoff_s = 0.0

    async def _wait(self) -> list[ClaimedJob]:
        """Wait for a notification; return the jobs that a claim before or after it gave."""
        self._woken.clear()
        if self.is_closed:
            return []
        turn_s = min(_TURN_POLLS * self._settings.poll_s, _TURN_MAX_S)
        turn_s *= random.uniform(_TURN_SPREAD, 1)  # noqa: S311  spreads workers, keeps no secret
        look = self._note(await self._notifier.await_turn(turn_s, self._woken))
        is_idle = look is not None and look.is_registered
        if not is_idle and self._notifier.is_connected:
            # Whoever is registered may be frozen; and a job may have woken this worker.
            return (await self._claim())[0] if look is None or self._is_due(look) else []
        unregistering = None
        try:
            batch, due_s = await self._claim_if_due(look)
            while not batch:
                pause_s = self._pause(due_s, is_idle=is_idle)
                is_woken = await self._notifier.wait(pause_s, self._woken)
                if is_idle and not is_woken and (due_s is None or due_s > 0):
                    # Its place is left to another worker only when there is a job for one.
                    look = self._note(await self._notifier.look())
                    is_idle = look is not None
                    batch, due_s = await self._claim_if_due(look)
                    continue
                # At the same time, on two connections: a job queued meanwhile notifies once more.
                if is_idle:
                    unregistering = asyncio.create_task(self._notifier.unregister_idle())
                batch, _ = await self._claim()
                break
        finally:
            if unregistering is not None:
                await unregistering
            elif is_idle:
                await self._notifier.unregister_idle()
        return batch

    def _note(self, look: Look | None) -> Look | None:
        if look is not None:
            self._lookout.note(look)
        return look

    def _is_due(self, look: Look) -> bool:
        # Only a claim shows that a fault is over.
        return bool(self.fault) or (look.due_s is not None and look.due_s <= 0)

    async def _claim_if_due(self, look: Look | None) -> tuple[list[ClaimedJob], float | None]:
        if look is None or self._is_due(look):
            return await self._claim()
        return [], look.due_s

    async def _claim(self) -> tuple[list[ClaimedJob], float | None]:
        """Claim; return also the seconds until a waiting job is due, None when there is none."""
        claim = self.next_claim()
        if claim is None:
            return [], None
        async with self._db.connection() as conn:
            jobs = await queue.claim_jobs(conn, claim)
            if not jobs and claim.min_position:
                jobs = await queue.claim_jobs(conn, replace(claim, min_position=0))
            self.register_leases(jobs)
            due_s = None if jobs else await queue.seconds_to_next_job(conn)
        await self.record_success(job_completed=False)
        return jobs, due_s

    def _pause(self, due_s: float | None, *, is_idle: bool) -> float:
        longest = self._settings.poll_s
        if not is_idle:
            longest = min(longest, _POLL_WITHOUT_NOTIFY_S)
        if due_s is not None:
            # Overdue but not claimed: another worker is claiming it at this moment, or an operator
            # limits how many jobs this worker may hold.
            longest = min(longest, due_s if due_s > 0 else self._poll_s)
        can_wait = is_idle and (due_s is None or due_s > 0)
        self._poll_s = _POLL_MIN_S if can_wait else min(2 * self._poll_s, _POLL_MAX_S)
        return longest
