"""Where the lanes of a worker get their batches, and wait for them.

One lane waits at a time, at the doorbell; the others queue behind it. A claim takes as many jobs as
fill `batch_s` at the pace of the jobs before. It starts at the position where the last one stopped,
because the rows before it may be dead and still in the index; what came in behind that position (a
commit that took long, a job that was given back) is found by a look at all, every second and
whenever a claim finds none.
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
from automatch.store import queue
from automatch.store.database import Database
from automatch.store.notify import JobNotifier
from automatch.store.queue import Claim
from automatch.worker.leases import Leases

_LOOK_AT_ALL_S = 1.0
_DOZE_S = 0.02
_DOZE_MAX_S = 0.25
"""Pauses, from the first to the longest, while nothing may ring: another worker is the one that is
notified and may be busy the next moment, or a job is due that this one does not get."""
_DEAF_S = 1.0
"""Longest pause while no notification can come."""
_FIRST_GUESS_S = 0.05

log = structlog.get_logger(__name__)


class Line:
    """The waiting jobs as one worker sees them."""

    def __init__(
        self,
        db: Database,
        bell: JobNotifier,
        leases: Leases,
        worker_id: UUID,
        settings: WorkerSettings,
    ) -> None:
        self._db = db
        self._bell = bell
        self._leases = leases
        self._worker_id = worker_id
        self._settings = settings
        self._closed = asyncio.Event()
        self._nudged = asyncio.Event()
        self._door = asyncio.Lock()
        self._floor = 0
        self._looked_at_all = 0.0
        self._job_s = _FIRST_GUESS_S
        self._trouble_s = 0.0
        self._doze_s = _DOZE_S

    def close(self) -> None:
        """Give out nothing more, and let nobody wait."""
        self._closed.set()
        self._nudged.set()

    def nudge(self) -> None:
        """Let the lane that waits look again: a job was put off, for less than it waits."""
        self._nudged.set()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def next_claim(self) -> Claim | None:
        """Return what to ask for next; None when nothing is given out any more."""
        if self.is_closed:
            return None
        limit = round(self._settings.batch_s / self._job_s)
        now = time.monotonic()
        floor = self._floor
        if now - self._looked_at_all > _LOOK_AT_ALL_S:
            floor, self._looked_at_all = 0, now
        return Claim(
            self._worker_id,
            min(max(limit, 1), self._settings.batch),
            self._settings.lease_s,
            floor,
        )

    def took(self, jobs: Sequence[ClaimedJob]) -> None:
        """Hold what a claim gave."""
        self._leases.hold(jobs)
        if jobs:
            self._floor = jobs[0].position

    def worked(self, jobs: int, seconds: float) -> None:
        """Learn from a batch how long a job takes."""
        self._job_s = max((self._job_s + seconds / jobs) / 2, 1e-5)

    async def next_batch(self) -> list[ClaimedJob]:
        """Wait for jobs and claim them; empty once the line is closed."""
        async with self._door:
            self._doze_s = _DOZE_S
            batch: list[ClaimedJob] = []
            # From the second time on, the wait before has ended with a look.
            looks = True
            while not self.is_closed:
                try:
                    if looks:
                        batch, _ = await self._claim()
                    looks = False
                    batch = batch or await self._wait()
                except StoreError as exc:
                    await self.recover(exc)
                else:
                    if batch:
                        return batch
            return []

    async def unless_closed(self, wait: Coroutine[None, None, None]) -> None:
        """Wait for something, or until nothing is given out any more."""
        waiting = asyncio.create_task(wait)
        closing = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait({waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
        finally:
            closing.cancel()
            waiting.cancel()
            await asyncio.gather(waiting, closing, return_exceptions=True)

    async def recover(self, trouble: AutomatchError) -> None:
        """Pause, longer each time, because the machine is in trouble and not a job."""
        self._trouble_s = min(max(2 * self._trouble_s, 0.5), self._settings.outage_pause_max_s)
        log.warning("worker pauses", code=trouble.code, seconds=self._trouble_s)
        try:
            async with asyncio.timeout(self._trouble_s * random.uniform(0.5, 1)):  # noqa: S311  spreads workers, keeps no secret
                await self._closed.wait()
        except TimeoutError:
            return

    def fine(self) -> None:
        """Note that the machine works: the next pause is short again."""
        self._trouble_s = 0.0

    async def _wait(self) -> list[ClaimedJob]:
        """Wait at the doorbell; return what came in while it was being armed, or rang."""
        self._nudged.clear()
        if self.is_closed:
            return []
        asleep = await self._bell.register_idle()
        waking = None
        try:
            batch, due_s = await self._claim()
            if not batch:
                await self._bell.wait(self._pause(due_s, asleep), self._nudged)
                # Side by side, on two connections: a job queued meanwhile only rings once more.
                waking = asyncio.create_task(self._bell.unregister_idle()) if asleep else None
                batch, _ = await self._claim()
        finally:
            if waking is not None:
                await waking
            elif asleep:
                await self._bell.unregister_idle()
        return batch

    async def _claim(self) -> tuple[list[ClaimedJob], float | None]:
        """Claim; return also how long there is nothing to do, None for no end of it."""
        claim = self.next_claim()
        if claim is None:
            return [], None
        async with self._db.connection() as conn:
            jobs = await queue.claim_jobs(conn, claim)
            if not jobs and claim.floor:
                jobs = await queue.claim_jobs(conn, replace(claim, floor=0))
            self.took(jobs)
            due_s = None if jobs else await queue.seconds_to_next_job(conn)
        self.fine()
        return jobs, due_s

    def _pause(self, due_s: float | None, asleep: bool) -> float:
        longest = self._settings.poll_s
        if not asleep:
            longest = min(longest, self._doze_s if self._bell.is_connected else _DEAF_S)
        if due_s is not None:
            # Overdue and not ours: another worker is claiming it this moment, or an operator lets
            # this one hold no more.
            longest = min(longest, due_s if due_s > 0 else self._doze_s)
        quiet = asleep and (due_s is None or due_s > 0)
        self._doze_s = _DOZE_S if quiet else min(2 * self._doze_s, _DOZE_MAX_S)
        return longest
