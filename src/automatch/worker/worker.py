"""The loop of a worker: claim as many jobs as there is room for, run them side by side, wait.

It is woken by a notification, by a job of its own that ends, by the time at which a waiting job is
due, or by the poll. The wake-up is cleared before the table is read, so one that comes in between
is not lost.
"""

from __future__ import annotations

import asyncio
from functools import partial
from uuid import UUID, uuid4

import structlog

from automatch.errors import DatabaseUnavailableError
from automatch.model import SERVICE, ClaimedJob
from automatch.store import jobs
from automatch.store.listener import listen
from automatch.worker.run_job import Bench, run_job
from automatch.worker.scheduler import Scheduler

_SOON_S = 0.05

log = structlog.get_logger(__name__)


class Worker:
    """Works on jobs until `stop` is called."""

    def __init__(self, bench: Bench, scheduler: Scheduler) -> None:
        self.id: UUID = uuid4()
        self._bench = bench
        self._settings = bench.settings
        self._scheduler = scheduler
        self._running: dict[UUID, tuple[ClaimedJob, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Claim nothing more; finish what is held within `stop_s`, give back the rest."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until stopped. The database may come and go meanwhile."""
        log.info("worker started", worker=str(self.id))
        try:
            # A companion that breaks ends the worker: without leases renewed or lost jobs
            # taken back, a new process is better than one that only looks alive.
            async with asyncio.TaskGroup() as group:
                companions = [
                    group.create_task(
                        listen(
                            self._bench.db.conninfo,
                            "jobs",
                            self._wake.set,
                            name="automatch-worker-listen",
                        )
                    ),
                    group.create_task(self._beat()),
                    group.create_task(self._scheduler.run()),
                ]
                while not self._stopping.is_set():
                    self._wake.clear()
                    wait_s = await self._fill()
                    if wait_s > 0:
                        await self._sleep(wait_s)
                for companion in companions:
                    companion.cancel()
        finally:
            await self._finish()
        log.info("worker stopped", worker=str(self.id))

    async def _fill(self) -> float:
        """Claim jobs for the free places; return how long there is nothing to do."""
        room = self._settings.batch - len(self._running)
        if room <= 0:
            return self._settings.poll_s
        try:
            async with self._bench.db.as_user(SERVICE) as conn:
                claimed = await jobs.claim_jobs(conn, self.id, room, self._settings)
                due_s = await jobs.seconds_to_next_job(conn) if len(claimed) < room else 0.0
        except DatabaseUnavailableError:
            log.warning("database away, claiming later")
            return self._settings.backoff_s
        for job in claimed:
            task = asyncio.create_task(run_job(job, self._bench))
            self._running[job.id] = (job, task)
            task.add_done_callback(partial(self._ended, job.id))
        if due_s is None:
            return self._settings.poll_s
        # Overdue and not ours: another worker is claiming it this moment.
        return min(max(due_s, _SOON_S), self._settings.poll_s) if len(claimed) < room else 0.0

    def _ended(self, job_id: UUID, _: asyncio.Task[None]) -> None:
        self._running.pop(job_id, None)
        self._wake.set()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _beat(self) -> None:
        """Renew the leases of what runs; drop at once what another has taken over."""
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            held = [job for job, _ in self._running.values()]
            if not held:
                continue
            try:
                async with self._bench.db.as_user(SERVICE) as conn:
                    kept = await jobs.renew_leases(conn, held, self._settings)
            except DatabaseUnavailableError:
                log.warning("database away, leases not renewed")
                continue
            for job in held:
                entry = self._running.get(job.id)
                if job.id not in kept and entry is not None and entry[0].token == job.token:
                    log.warning("job lost to another worker", job=str(job.id))
                    entry[1].cancel()

    async def _finish(self) -> None:
        held = list(self._running.values())
        if not held:
            return
        tasks = [task for _, task in held]
        await asyncio.wait(tasks, timeout=self._settings.stop_s)
        unfinished = [job for job, task in held if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not unfinished:
            return
        try:
            async with self._bench.db.as_user(SERVICE) as conn:
                count = await jobs.release_jobs(conn, unfinished)
        except DatabaseUnavailableError:
            log.warning("jobs could not be given back; their leases run out")
        else:
            log.info("jobs given back", count=count)
