"""One batch after the other: see the photos, keep the embeddings, settle, take the next.

The photos of a batch are seen side by side. Normally all of them are written together; one that
takes its time holds the others up for a moment only, and is written by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

import structlog

from automatch.errors.photo import SeveralFacesError
from automatch.errors.store import StoreError
from automatch.model.jobs import ClaimedJob
from automatch.photos.folder import PhotoStore
from automatch.search.batch import BatchSearch
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.queue import SeenJob
from automatch.vision import FaceAnalyzer
from automatch.worker.complete import JobCompleter
from automatch.worker.exclusive_lock import Room
from automatch.worker.failures import refusal_of
from automatch.worker.fetch import Line
from automatch.worker.leases import Leases

_STRAGGLER_S = 0.5
"""So long the photos that are seen wait for those that are not."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class WorkerContext:
    """What jobs are worked on with."""

    db: Database
    photos: PhotoStore
    analyzer: FaceAnalyzer
    settings: WorkerSettings
    search: BatchSearch
    seats: asyncio.Semaphore
    """One a photo that the analyzer works on: a photo's time begins when its turn comes."""
    backfill_concurrency: int = 0
    """Kept photos analyzed at a time when the model changes; 0 where the analyzer has one model."""


class BatchRunner:
    """Works on one batch at a time until the line is closed."""

    def __init__(self, bench: WorkerContext, line: Line, leases: Leases, room: Room) -> None:
        self._bench = bench
        self._line = line
        self._leases = leases
        self._room = room
        self._settler = JobCompleter(
            bench.db,
            bench.photos,
            line,
            leases,
            bench.settings,
            search=bench.search,
        )
        self._looking: dict[UUID, asyncio.Task[SeenJob]] = {}

    async def run(self) -> None:
        """Work until the line is closed and the batch in hand is settled."""
        batch: list[ClaimedJob] = []
        while batch := await self._next(batch):
            try:
                async with self._room.enter(alone=batch[0].isolated):
                    batch = await self._work(batch)
            except StoreError as exc:
                # Whoever takes them over finds what was written, and nothing half.
                log.warning("batch could not be settled", code=exc.code)
                if self._line.is_closed:
                    # The worker gives back what it holds, once it can.
                    return
                self._leases.drop(batch)
                batch = []

    def lose(self, job: ClaimedJob) -> None:
        """Stop looking at the photo of a job that another worker has."""
        task = self._looking.get(job.id)
        if task is not None:
            task.cancel()

    async def _next(self, batch: list[ClaimedJob]) -> list[ClaimedJob]:
        """Return *batch*, or else one from the line; empty once that is closed.

        While another lane has a job that may take the worker down, this one holds nothing: a job
        that only waited would be lost along with it, again and again. Nor does it while nobody can
        look at photos: it would claim the whole line only to give it back.
        """
        while not batch or self._room.is_taken:
            if batch:
                await self._settler.give_back(batch)
            await self._room.vacated()
            if not self._bench.analyzer.is_ready:
                await self._line.unless_closed(self._bench.analyzer.ready())
            batch = await self._line.next_batch()
            if not batch:
                break
        return batch

    async def _work(self, batch: list[ClaimedJob]) -> list[ClaimedJob]:
        """Bring a batch to its end; return the next one."""
        began = time.monotonic()
        claimed: list[ClaimedJob] = []
        ready = [job for job in batch if job.is_embedded]
        looking = {asyncio.create_task(self._see(job)): job for job in batch if not job.is_embedded}
        self._looking = {job.id: task for task, job in looking.items()}
        try:
            while looking or ready:
                seen: list[SeenJob] = []
                refused = []
                if looking:
                    for task in (await asyncio.wait(looking, timeout=_STRAGGLER_S))[0]:
                        job = looking.pop(task)
                        if task.cancelled():
                            self._leases.drop([job])
                        elif (exc := task.exception()) is not None:
                            refused.append(refusal_of(job, exc))
                        else:
                            seen.append(task.result())
                if looking and not (ready or seen or refused):
                    continue
                kept, spoiled = await self._settler.keep(seen)
                claimed = await self._settler.settle(
                    ready + kept,
                    refused + spoiled,
                    claim=self._line.next_claim() if self._may_claim(looking) else None,
                )
                ready = []
            self._line.worked(len(batch), time.monotonic() - began)
        finally:
            self._looking = {}
            for task in looking:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)
        return claimed

    def _may_claim(self, looking: Collection[object]) -> bool:
        return not looking and not self._room.is_taken and self._bench.analyzer.is_ready

    async def _see(self, job: ClaimedJob) -> SeenJob:
        bench = self._bench
        async with bench.seats, asyncio.timeout(bench.settings.job_timeout_s):
            photo = await bench.photos.read(job.image_path)
            try:
                seen = await bench.analyzer.extract(photo, job.chosen, model=job.model)
            except SeveralFacesError as exc:
                await self._keep_to_ask(job, exc)
                raise
            await bench.photos.put_copies(
                job.image_path, full=seen.kept_jpeg, thumb=seen.thumbnail_jpeg
            )
        return SeenJob(
            job,
            seen.face.embedding,
            seen.quality,
            {f"{stage}_ms": round(ms, 1) for stage, ms in seen.timings.items()},
            job.model,
        )

    async def _keep_to_ask(self, job: ClaimedJob, asking: SeveralFacesError) -> None:
        """Keep what the page asks with; the upload, with all it tells beside the picture, goes."""
        if asking.copies is None:
            return
        full, thumb = asking.copies
        await self._bench.photos.put_copies(job.image_path, full=full, thumb=thumb)
        try:
            await self._bench.photos.drop_upload(job.image_path)
        except OSError as exc:
            log.warning("upload not deleted yet", job=str(job.id), error=type(exc).__name__)
