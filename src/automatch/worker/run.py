"""Running batches: extract the embeddings of a batch's photos, complete its jobs, claim the next.

The photos of a batch are analyzed concurrently and normally written together. A slow photo delays
the others only for a moment and is then written by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from automatch.errors.photo import PhotoRejectedError, SeveralFacesError
from automatch.errors.store import StoreError
from automatch.model.jobs import ClaimedJob
from automatch.photos.store import PhotoStore
from automatch.search.batch import BatchSearch
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.queue.queue import JobEmbedding, JobFailure
from automatch.vision import FaceAnalyzer
from automatch.vision.decode.upload_check import is_costly
from automatch.worker.complete import JobCompleter
from automatch.worker.failures import classify_failure, pauses_worker
from automatch.worker.fetch import JobFetcher
from automatch.worker.leases import Leases
from automatch.worker.lookout import Lookout
from automatch.worker.observer import JobObserver

_SLOW_PHOTO_S = 0.5
"""How long analyzed photos wait for the others of their batch."""

_COSTLY_PAUSE_S = 0.5
"""Between two claims of a runner that got nothing but photos for which there is no costly slot."""

log = structlog.get_logger(__name__)


class _NoCostlySlotError(Exception):
    """Enough photos that take long to decode are analyzed at the moment."""


class SharedExclusiveLock:
    """Held by many at once, or by one exclusively; a waiting exclusive holder goes first."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._holders = 0
        self._exclusive = False

    @property
    def is_exclusive(self) -> bool:
        """Whether it is held exclusively, or somebody waits to hold it so."""
        return self._exclusive

    async def wait_until_shared(self) -> None:
        """Wait until nobody holds it exclusively or waits to."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._exclusive)

    @asynccontextmanager
    async def hold(self, *, exclusive: bool) -> AsyncIterator[None]:
        """Hold the lock, shared with others or exclusively."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._exclusive)
            self._exclusive = exclusive
            try:
                await self._changed.wait_for(lambda: not (exclusive and self._holders))
            except BaseException:
                self._exclusive = False
                self._changed.notify_all()
                raise
            self._holders += 1
        try:
            yield
        finally:
            async with self._changed:
                self._holders -= 1
                self._exclusive = self._exclusive and not exclusive
                self._changed.notify_all()


@dataclass(frozen=True)
class WorkerContext:
    """What a worker needs to work on jobs."""

    db: Database
    photos: PhotoStore
    analyzer: FaceAnalyzer
    settings: WorkerSettings
    search: BatchSearch
    inference_slots: asyncio.Semaphore
    """Held while a photo is analyzed; the time limit of a job starts when it gets a slot."""
    costly_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """Held besides for a photo that takes long to decode; fewer, so that others go on meanwhile."""
    backfill_concurrency: int = 0
    """Stored photos analyzed at a time for a new model; 0 where the analyzer has one model only."""
    observer: JobObserver = field(default_factory=JobObserver)
    lookout: Lookout = field(default_factory=Lookout)


class BatchRunner:
    """Works on one batch at a time until the fetcher is closed."""

    def __init__(
        self,
        context: WorkerContext,
        fetcher: JobFetcher,
        leases: Leases,
        lock: SharedExclusiveLock,
    ) -> None:
        self._context = context
        self._fetcher = fetcher
        self._leases = leases
        self._lock = lock
        self._completer = JobCompleter(
            context.db,
            context.photos,
            fetcher,
            leases,
            context.settings,
            search=context.search,
            observer=context.observer,
        )
        self._extractions: dict[UUID, asyncio.Task[JobEmbedding]] = {}
        self._begun: set[UUID] = set()
        """Jobs of the batch whose photos have had their turn at the analyzer."""
        self._pauses = False

    async def run(self) -> None:
        """Work until the fetcher is closed and the current batch is complete."""
        batch: list[ClaimedJob] = []
        while batch := await self._next_batch(batch):
            try:
                async with self._lock.hold(exclusive=batch[0].isolated):
                    batch = await self._run_batch(batch)
            except StoreError as exc:
                # Each write is one transaction, so the next worker finds it whole or not at all.
                log.warning("batch not completed", code=exc.code)
                if self._fetcher.is_closed:
                    # The worker releases the jobs it holds when it stops.
                    return
                await self._completer.release(batch)
                await self._fetcher.pause(exc, in_job=True)
                batch = []

    def cancel(self, job: ClaimedJob) -> None:
        """Stop analyzing the photo of a job that another worker holds now."""
        task = self._extractions.get(job.id)
        if task is not None:
            task.cancel()

    async def _next_batch(self, batch: list[ClaimedJob]) -> list[ClaimedJob]:
        """Return *batch*, or else fetch one; empty once the fetcher is closed.

        While another runner has an isolated job, which may kill the worker, this one holds no jobs:
        they would be lost with it again and again. Nor does it claim jobs while the analyzer is not
        ready: it would only release them.
        """
        while not batch or self._lock.is_exclusive:
            if batch:
                await self._completer.release(batch)
            await self._lock.wait_until_shared()
            if self._pauses:
                self._pauses = False
                await self._fetcher.wait_unless_closed(asyncio.sleep(_COSTLY_PAUSE_S))
            if not self._context.analyzer.is_ready:
                await self._fetcher.wait_unless_closed(self._context.analyzer.ready())
            batch = await self._fetcher.next_batch()
            if not batch:
                break
        return batch

    async def _run_batch(self, batch: list[ClaimedJob]) -> list[ClaimedJob]:
        """Complete a batch; return the next one."""
        began = time.monotonic()
        claimed: list[ClaimedJob] = []
        done_jobs = len(batch)
        ready = [job for job in batch if job.is_embedded]
        running = {
            asyncio.create_task(self._extract(job)): job for job in batch if not job.is_embedded
        }
        self._extractions = {job.id: task for task, job in running.items()}
        try:
            while running or ready:
                embeddings: list[JobEmbedding] = []
                failures: list[JobFailure] = []
                postponed: list[ClaimedJob] = []
                if running:
                    done = (await asyncio.wait(running, timeout=_SLOW_PHOTO_S))[0]
                    if not done:
                        done_jobs -= await self._release_waiting(running)
                    for task in done:
                        job = running.pop(task)
                        if task.cancelled():
                            self._leases.drop([job])
                        elif isinstance(task.exception(), _NoCostlySlotError):
                            postponed.append(job)
                        elif (exc := task.exception()) is not None:
                            failures.append(classify_failure(job, exc))
                        else:
                            embeddings.append(task.result())
                if postponed:
                    done_jobs -= len(postponed)
                    await self._completer.release(postponed, new_turn=True)
                self._pauses = bool(postponed) and not (embeddings or failures)
                if (running or postponed) and not (ready or embeddings or failures):
                    continue
                claimed = await self._write(ready, embeddings, failures, running)
                ready = []
            self._fetcher.record_duration(done_jobs, time.monotonic() - began)
        finally:
            self._extractions = {}
            self._begun = set()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return claimed

    async def _write(
        self,
        ready: list[ClaimedJob],
        embeddings: list[JobEmbedding],
        failures: list[JobFailure],
        running: Collection[object],
    ) -> list[ClaimedJob]:
        """Complete jobs; return the next batch, or none after a fault of the machine."""
        stored, not_stored = await self._completer.store_embeddings(embeddings)
        failures += not_stored
        faults = [failure.error for failure in failures if pauses_worker(failure.error)]
        may_claim = not faults and self._may_claim(running)
        claimed = await self._completer.complete(
            ready + stored, failures, claim=self._fetcher.next_claim() if may_claim else None
        )
        if faults:
            await self._fetcher.pause(faults[0], in_job=True)
        return claimed

    async def _release_waiting(self, running: dict[asyncio.Task[JobEmbedding], ClaimedJob]) -> int:
        """Release jobs that wait behind slow photos, so that others may go before them; how many.

        A runner that has begun none keeps one: it would only claim as many again.
        """
        waiting = [task for task, job in running.items() if job.id not in self._begun]
        if len(waiting) == len(running):
            del waiting[0]
        if waiting:
            for task in waiting:
                task.cancel()
            await self._completer.release([running.pop(task) for task in waiting], new_turn=True)
            self._fetcher.wake()
        return len(waiting)

    def _may_claim(self, running: Collection[object]) -> bool:
        return not running and not self._lock.is_exclusive and self._context.analyzer.is_ready

    async def _extract(self, job: ClaimedJob) -> JobEmbedding:
        context = self._context
        # Of this task alone: whatever it calls says which job it is about.
        structlog.contextvars.bind_contextvars(**job.log_fields)
        async with context.inference_slots, asyncio.timeout(context.settings.job_timeout_s):
            self._begun.add(job.id)
            photo = await context.photos.read(job.image_path)
            costly = await asyncio.to_thread(is_costly, photo)
            if costly and context.costly_slots.locked():
                raise _NoCostlySlotError
            try:
                began = time.monotonic()
                async with context.costly_slots if costly else nullcontext():
                    extraction = await context.analyzer.extract(photo, job.chosen, model=job.model)
            except SeveralFacesError as exc:
                await self._store_question_copies(job, exc)
                raise
            except PhotoRejectedError as exc:
                await self._store_refused_picture(job, exc)
                raise
            await context.photos.put_copies(
                job.image_path, full=extraction.kept_jpeg, thumb=extraction.thumbnail
            )
        context.observer.analyzed(job, extraction.timings_ms, began)
        return JobEmbedding(
            job,
            extraction.face.embedding,
            extraction.measured,
            {f"{stage}_ms": round(ms, 1) for stage, ms in extraction.timings_ms.items()},
            job.model,
            extraction.detector,
        )

    async def _store_refused_picture(self, job: ClaimedJob, error: PhotoRejectedError) -> None:
        """Keep the picture that the owner is shown in place of the upload, and for as long."""
        if (picture := error.picture) is None:
            return
        photos = self._context.photos
        try:
            if job.chosen is not None:
                # They were asked with copies that show the faces of others, too.
                await photos.put_copies(job.image_path, full=picture.jpeg, thumb=picture.thumbnail)
            await photos.put_upload(job.image_path, picture.jpeg)
        except (OSError, StoreError) as exc:
            log.warning("picture of a refused photo not stored", error=type(exc).__name__)
            error.picture = None

    async def _store_question_copies(self, job: ClaimedJob, error: SeveralFacesError) -> None:
        """Store the copies with which the owner is asked for their face; delete the upload."""
        if error.copies is None:
            return
        full, thumb = error.copies
        await self._context.photos.put_copies(job.image_path, full=full, thumb=thumb)
        try:
            await self._context.photos.drop_upload(job.image_path)
        except (OSError, StoreError) as exc:
            log.warning("upload not deleted", error=type(exc).__name__)
