"""A worker: batch runners that share a job fetcher, leases and a lock for isolated jobs."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import structlog

from automatch.errors.store import StoreError
from automatch.model.jobs import ClaimedJob
from automatch.store import queue
from automatch.store.notify import JobNotifier
from automatch.worker.embedding_backfill import EmbeddingBackfill
from automatch.worker.fetch import JobFetcher
from automatch.worker.leases import Leases
from automatch.worker.maintenance import MaintenanceRunner
from automatch.worker.run import BatchRunner, SharedExclusiveLock, WorkerContext

log = structlog.get_logger(__name__)


class Worker:
    """Works on jobs until `stop` is called."""

    def __init__(self, context: WorkerContext, maintenance: MaintenanceRunner) -> None:
        self.id: UUID = uuid4()
        self._context = context
        self._maintenance = maintenance
        db, settings = context.db, context.settings
        self._notifier = JobNotifier(db.conninfo, name="automatch-worker-listen")
        self._leases = Leases(db.conninfo, settings, self._cancel_job)
        self._fetcher = JobFetcher(db, self._notifier, self._leases, self.id, settings)
        lock = SharedExclusiveLock()
        self._runners = [
            BatchRunner(context, self._fetcher, self._leases, lock)
            for _ in range(settings.concurrency)
        ]
        self._stopping = asyncio.Event()
        self._aborting = asyncio.Event()

    def stop(self) -> None:
        """Claim no more jobs; finish those held within `shutdown_timeout_s`, release the rest."""
        self._fetcher.close()
        self._stopping.set()

    def abort(self) -> None:
        """Release at once the jobs that are held."""
        self.stop()
        self._aborting.set()

    async def run(self) -> None:
        """Work until stopped. The database may go away and come back meanwhile."""
        log.info("worker started", worker=str(self.id))
        try:
            # A background task that fails ends the worker: without a heartbeat or maintenance, a
            # new process is better than one that only looks alive.
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(self._leases.run_heartbeat()),
                    group.create_task(self._maintenance.run()),
                ]
                if self._context.backfill_concurrency:
                    background.append(group.create_task(EmbeddingBackfill(self._context).run()))
                runners = [group.create_task(runner.run()) for runner in self._runners]
                await self._stopping.wait()
                await self._finish(runners)
                for task in (*runners, *background):
                    task.cancel()
        finally:
            await self._notifier.close()
            await self._release_jobs()
        log.info("worker stopped", worker=str(self.id))

    def _cancel_job(self, job: ClaimedJob) -> None:
        for runner in self._runners:
            runner.cancel(job)

    async def _finish(self, runners: list[asyncio.Task[None]]) -> None:
        aborting = asyncio.create_task(self._aborting.wait())
        finishing = asyncio.create_task(asyncio.wait(runners))
        await asyncio.wait(
            {aborting, finishing},
            timeout=self._context.settings.shutdown_timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        aborting.cancel()
        finishing.cancel()

    async def _release_jobs(self) -> None:
        held = self._leases.held()
        if not held:
            return
        try:
            async with self._context.db.connection() as conn:
                count = await queue.release_jobs(conn, held)
        except StoreError:
            log.warning("jobs not released; their leases will expire")
        else:
            log.info("jobs released", count=count)
