"""A worker: some lanes that work on batches, and what keeps them going.

The lanes share one line to get their jobs from, the leases with their heartbeat, and a room in
which a job that a worker was lost with is alone.
"""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import structlog

from automatch.errors.store import StoreError
from automatch.model.jobs import ClaimedJob
from automatch.store import queue
from automatch.store.notify import JobNotifier
from automatch.worker.embedding_backfill import EmbeddingBackfill
from automatch.worker.exclusive_lock import Room
from automatch.worker.fetch import Line
from automatch.worker.leases import Leases
from automatch.worker.maintenance import MaintenanceRunner
from automatch.worker.run import BatchRunner, WorkerContext

log = structlog.get_logger(__name__)


class Worker:
    """Works on jobs until `stop` is called."""

    def __init__(self, bench: WorkerContext, scheduler: MaintenanceRunner) -> None:
        self.id: UUID = uuid4()
        self._bench = bench
        self._scheduler = scheduler
        self._bell = JobNotifier(bench.db.conninfo, name="automatch-worker-listen")
        self._leases = Leases(bench.db.conninfo, bench.settings, self._lose)
        self._line = Line(bench.db, self._bell, self._leases, self.id, bench.settings)
        room = Room()
        self._lanes = [
            BatchRunner(bench, self._line, self._leases, room)
            for _ in range(bench.settings.concurrency)
        ]
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """Claim no more jobs; finish those held within `shutdown_timeout_s`, release the rest."""
        self._line.close()
        self._stopping.set()

    def abort(self) -> None:
        """Give back at once what is held."""
        self.stop()
        self._hurry.set()

    async def run(self) -> None:
        """Work until stopped. The database may come and go meanwhile."""
        log.info("worker started", worker=str(self.id))
        try:
            # A companion that breaks ends the worker: without leases renewed or lost jobs
            # taken back, a new process is better than one that only looks alive.
            async with asyncio.TaskGroup() as group:
                companions = [
                    group.create_task(self._leases.keep()),
                    group.create_task(self._scheduler.run()),
                ]
                if self._bench.backfill_concurrency:
                    companions.append(group.create_task(EmbeddingBackfill(self._bench).run()))
                lanes = [group.create_task(lane.run()) for lane in self._lanes]
                await self._stopping.wait()
                await self._let_finish(lanes)
                for task in (*lanes, *companions):
                    task.cancel()
        finally:
            await self._bell.close()
            await self._give_back()
        log.info("worker stopped", worker=str(self.id))

    def _lose(self, job: ClaimedJob) -> None:
        for lane in self._lanes:
            lane.lose(job)

    async def _let_finish(self, lanes: list[asyncio.Task[None]]) -> None:
        hurrying = asyncio.create_task(self._hurry.wait())
        finishing = asyncio.create_task(asyncio.wait(lanes))
        await asyncio.wait(
            {hurrying, finishing},
            timeout=self._bench.settings.shutdown_timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        hurrying.cancel()
        finishing.cancel()

    async def _give_back(self) -> None:
        held = self._leases.held()
        if not held:
            return
        try:
            async with self._bench.db.connection() as conn:
                count = await queue.release_jobs(conn, held)
        except StoreError:
            log.warning("jobs could not be given back; their leases run out")
        else:
            log.info("jobs given back", count=count)
