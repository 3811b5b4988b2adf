"""A worker: batch runners that share a job fetcher, leases and a lock for isolated jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from uuid import UUID, uuid4

import structlog

from automatch.background import cancel_all, raise_ended
from automatch.errors.store import (
    DatabaseUnavailableError,
    InstallationError,
    NotReadyError,
    StoreError,
)
from automatch.model.jobs import ClaimedJob
from automatch.store.installation.schema_version import check_schema, is_known
from automatch.store.notify import JobNotifier
from automatch.store.operation.metrics import is_up
from automatch.store.queue import queue
from automatch.telemetry.metrics import DATABASE_UP, gauge, pool_families
from automatch.worker.embedding_backfill import EmbeddingBackfill
from automatch.worker.fetch import JobFetcher
from automatch.worker.leases import Leases
from automatch.worker.maintenance import MaintenanceRunner
from automatch.worker.run import BatchRunner, SharedExclusiveLock, WorkerContext

_SCHEMA_S = 60.0
"""Between two looks whether the database was migrated to what this version does not know."""

log = structlog.get_logger(__name__)


class Worker:
    """Works on jobs until `stop` is called."""

    def __init__(self, context: WorkerContext, maintenance: MaintenanceRunner) -> None:
        self.id: UUID = uuid4()
        self._context = context
        self._maintenance = maintenance
        db, settings = context.db, context.settings
        self._notifier = JobNotifier(db.direct, name="automatch-worker-listen")
        self._leases = Leases(db.conninfo, settings, self._cancel_job, self._on_fault)
        self._fetcher = JobFetcher(
            db,
            self._notifier,
            self._leases,
            self.id,
            settings,
            observer=context.observer,
            lookout=context.lookout,
        )
        lock = SharedExclusiveLock()
        self._runners = [
            BatchRunner(context, self._fetcher, self._leases, lock)
            for _ in range(settings.concurrency)
        ]
        self._stopping = asyncio.Event()
        self._aborting = asyncio.Event()
        self._releasing: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Claim no more jobs; finish those held within `finish_s`, release the rest."""
        self._fetcher.close()
        self._stopping.set()

    def abort(self) -> None:
        """Release at once the jobs that are held."""
        self.stop()
        self._aborting.set()

    async def check_ready(self) -> None:
        """Return when jobs would be worked on now.

        Raises:
            NotReadyError: the worker stops, has met a fault, or its AI service does not answer.
            DatabaseOlderError, DatabaseNewerError: the schema is not one of this version.
            DatabaseUnavailableError: the database does not answer.
        """
        if self._stopping.is_set():
            raise NotReadyError("The worker is stopping.")
        if (reason := self._fetcher.fault.reason) is not None:
            raise NotReadyError(f"The worker has paused: {reason}")
        if not self._context.analyzer.is_ready:
            raise NotReadyError("The AI service does not answer.")
        async with self._context.db.connection() as conn:
            await check_schema(conn)

    async def read_metrics(self) -> bytes:
        """Return the metrics of this worker as text, also while the database is away."""
        db = self._context.db
        families = [
            *pool_families(db.measure()),
            gauge(*DATABASE_UP, await is_up(db)),
            gauge("automatch_jobs_held", "Jobs that this worker holds.", len(self._leases.held())),
            gauge(
                "automatch_worker_paused",
                "Whether this worker has paused for a fault.",
                self._fetcher.fault.reason is not None,
            ),
        ]
        return self._context.observer.metrics.text(families)

    async def run(self) -> None:
        """Work until stopped. The database may go away and come back meanwhile.

        Raises:
            DatabaseOlderError, DatabaseNewerError: the database was migrated past this version.
            PartEndedError: a part has ended. Without a heartbeat or maintenance, a new process is
                better than one that only looks alive; what a part raises is raised as it is.
        """
        await self._notifier.connect()
        log.info("worker started", worker=str(self.id))
        tasks: list[asyncio.Task[None]] = []

        def start(name: str, run: Coroutine[None, None, None]) -> asyncio.Task[None]:
            tasks.append(asyncio.create_task(run, name=name))
            return tasks[-1]

        try:
            start("heartbeat", self._leases.run_heartbeat())
            start("maintenance", self._maintenance.run(self._context.lookout))
            if self._context.backfill_concurrency:
                start("embedding backfill", EmbeddingBackfill(self._context).run())
            runners = [
                start(f"batch runner {number}", runner.run())
                for number, runner in enumerate(self._runners)
            ]
            start("schema", self._watch_schema())
            start("stop request", self._wait_for_stop())
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not self._stopping.is_set():
                raise_ended(ended)
            await self._finish(runners)
        finally:
            await cancel_all([*tasks, *filter(None, [self._releasing])])
            await self._notifier.close()
            await self._release_jobs()
        log.info("worker stopped", worker=str(self.id))

    async def _wait_for_stop(self) -> None:
        await self._stopping.wait()

    async def _watch_schema(self) -> None:
        """Raise once a migration has left this version behind; its jobs are for newer workers."""
        while True:
            await self._context.lookout.wait(
                _SCHEMA_S, lambda look: not is_known(look.schema_version, look.oldest_program)
            )
            with contextlib.suppress(DatabaseUnavailableError):
                async with self._context.db.connection() as conn:
                    await check_schema(conn)

    def _cancel_job(self, job: ClaimedJob) -> None:
        for runner in self._runners:
            runner.cancel(job)

    def _on_fault(self, fault: InstallationError) -> None:
        if self._releasing is None or self._releasing.done():
            self._releasing = asyncio.create_task(self._release_unrenewable(fault), name="release")

    async def _release_unrenewable(self, fault: InstallationError) -> None:
        """Release jobs whose leases cannot be renewed, before they expire and cost an attempt."""
        await self._fetcher.fault.note(fault, in_job=True)
        for job in await self._release_jobs():
            self._cancel_job(job)

    async def _finish(self, runners: list[asyncio.Task[None]]) -> None:
        aborting = asyncio.create_task(self._aborting.wait())
        finishing = asyncio.create_task(asyncio.wait(runners))
        await asyncio.wait(
            {aborting, finishing},
            timeout=self._context.settings.finish_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        aborting.cancel()
        finishing.cancel()

    async def _release_jobs(self) -> list[ClaimedJob]:
        """Release all jobs of this worker; return those it knew of, or none where that fails.

        A claim may have been committed while its runner was cancelled: nobody here knows its jobs.
        """
        held = self._leases.held()
        try:
            async with self._context.db.connection() as conn:
                count = await queue.release_jobs_of(conn, self.id)
        except StoreError as exc:
            log.warning("jobs not released; their leases will expire", code=exc.code)
            return []
        self._leases.drop(held)
        if count:
            log.info("jobs released", count=count)
        return held
