"""Completing a batch in at most two commits, whatever its size.

The embeddings are committed before the search, so that of two people who upload at once at least
the later search finds the other. Jobs that search the same group are searched together in memory.
The other searches, the matches, both feeds and the new status of every job are the second commit,
which also claims the next batch. A batch that cannot be written is halved until the job that causes
the error is found. An infrastructure error halves nothing: it is retried until the leases expire,
unless a machine of a cluster is away: jobs of schools on other machines are completed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeVar
from uuid import UUID

import structlog

from automatch.errors.store import InstallationError, StoreError
from automatch.model.jobs import ClaimedJob
from automatch.model.people import SERVICE
from automatch.photos.store import PhotoStore
from automatch.search.batch import BatchSearch
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.photos import faces
from automatch.store.queue import queue
from automatch.store.queue.queue import (
    BatchCompletion,
    ClaimRequest,
    CompletionResult,
    JobEmbedding,
    JobFailure,
)
from automatch.worker.failures import classify_failure, pauses_worker, release_delay_s
from automatch.worker.fetch import JobFetcher
from automatch.worker.leases import Leases
from automatch.worker.observer import JobObserver

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class JobCompleter:
    """Writes the results of a worker's jobs."""

    def __init__(
        self,
        db: Database,
        photos: PhotoStore,
        fetcher: JobFetcher,
        leases: Leases,
        settings: WorkerSettings,
        *,
        search: BatchSearch,
        observer: JobObserver,
    ) -> None:
        self._db = db
        self._observer = observer
        self._search = search
        self._photos = photos
        self._fetcher = fetcher
        self._leases = leases
        self._settings = settings

    async def store_embeddings(
        self, embeddings: Sequence[JobEmbedding]
    ) -> tuple[list[ClaimedJob], list[JobFailure]]:
        """Store the embeddings of a batch; from then on other searches find these faces.

        Returns:
            The jobs to search for, and the jobs whose embedding could not be stored.
        """
        if not embeddings:
            return [], []
        stored, errors = await self._write_or_halve(list(embeddings), self._store)
        jobs = [embedding.job for embedding in embeddings if embedding.job.id in stored]
        await asyncio.gather(*(self._drop_upload(job) for job in jobs))
        failures = [classify_failure(embedding.job, exc) for embedding, exc in errors]
        failed = {failure.job.id for failure in failures}
        lost = [
            embedding.job
            for embedding in embeddings
            if embedding.job.id not in stored and embedding.job.id not in failed
        ]
        self._drop_lost(lost)
        if lost:
            await self._erase_deleted(lost)
        return jobs, failures

    async def complete(
        self,
        jobs: Sequence[ClaimedJob],
        failures: Sequence[JobFailure],
        *,
        claim: ClaimRequest | None,
    ) -> list[ClaimedJob]:
        """Search for *jobs* and complete them, write *failures*, and claim the next batch."""
        failures = list(failures)
        completion = BatchCompletion(
            jobs, failures, claim, release_delay_s=release_delay_s(failures, self._settings)
        )
        result = await self._retry_outages(lambda: self._search_and_complete(completion))
        matches: dict[UUID, int | None] = {}
        if isinstance(result, Exception):
            if not jobs:
                raise result
            matches, errors = await self._write_or_halve(list(jobs), self._complete)
            failures += [classify_failure(job, exc) for job, exc in errors]
            delay_s = release_delay_s(failures, self._settings)
            rest = replace(completion, jobs=(), failures=failures, release_delay_s=delay_s)
            result = await self._retry_outages(
                lambda: queue.complete_batch(self._db, rest, self._settings)
            )
            if isinstance(result, Exception):
                raise result
        self._drop_leases(jobs, failures, matches | result.matches)
        for failure in failures:
            self._observer.failed(failure)
        if failures:
            self._fetcher.wake()
        self._fetcher.register_leases(result.claimed)
        await self._fetcher.record_success(job_completed=bool(matches or result.matches))
        return result.claimed

    async def release(self, jobs: Sequence[ClaimedJob], *, new_turn: bool = False) -> None:
        """Release jobs that were not started; this costs them no attempt.

        They keep their turn, or come behind those who wait now; they are no longer held either way.
        """
        try:
            async with self._db.connection() as conn:
                await queue.release_jobs(conn, jobs, new_turn=new_turn)
        except StoreError as exc:
            log.warning("jobs not released; their leases will expire", code=exc.code)
        self._leases.drop(jobs)

    async def _drop_upload(self, job: ClaimedJob) -> None:
        # The re-encoded copy and the embedding are stored: nobody needs the upload any more.
        try:
            await self._photos.drop_upload(job.image_path)
        except (OSError, StoreError) as exc:
            log.warning("upload not deleted", **job.log_fields, error=type(exc).__name__)

    async def _erase_deleted(self, jobs: Sequence[ClaimedJob]) -> None:
        """Erase the copies of photos that were deleted, and erased, before these were stored."""
        paths = {job.image_path for job in jobs}
        try:
            async with self._db.as_user(SERVICE) as conn:
                paths -= await faces.list_known_photos(conn, list(paths))
            await self._photos.erase(paths)
        except (OSError, StoreError) as exc:
            # The sweep of stored photos finds them too.
            log.warning("copies not deleted", photos=len(paths), error=type(exc).__name__)

    async def _search_and_complete(self, completion: BatchCompletion) -> CompletionResult:
        with self._observer.searching(completion.jobs):
            candidates = await self._search.find_candidates(completion.jobs)
            return await queue.complete_batch(
                self._db, replace(completion, candidates=candidates), self._settings
            )

    async def _store(self, embeddings: Sequence[JobEmbedding]) -> dict[UUID, int | None]:
        # Nearly always one group: a batch is one claim, and a claim is for one model.
        stored: dict[UUID, int | None] = {}
        for model, group in groupby(embeddings, lambda embedding: embedding.model):
            async with self._db.connection() as conn:
                ids = await queue.store_embeddings(conn, list(group), model=model)
            stored |= dict.fromkeys(ids, 0)
        return stored

    async def _complete(self, jobs: Sequence[ClaimedJob]) -> dict[UUID, int | None]:
        result = await queue.complete_batch(self._db, BatchCompletion(jobs), self._settings)
        return result.matches

    async def _write_or_halve(
        self, items: list[_T], write: Callable[[Sequence[_T]], Awaitable[dict[UUID, int | None]]]
    ) -> tuple[dict[UUID, int | None], list[tuple[_T, Exception]]]:
        """Write all items together, else in halves; return also the items that fail alone."""
        written = await self._retry_outages(lambda: write(items))
        if not isinstance(written, Exception):
            return written, []
        if len(items) == 1:
            return {}, [(items[0], written)]
        middle = len(items) // 2
        left, left_errors = await self._write_or_halve(items[:middle], write)
        right, right_errors = await self._write_or_halve(items[middle:], write)
        return left | right, left_errors + right_errors

    async def _retry_outages(self, write: Callable[[], Awaitable[_T]]) -> _T | Exception:
        """Write, again after each error that pauses the worker; return any other.

        Raises:
            StoreError: the infrastructure failed for longer than a lease.
        """
        give_up_at = time.monotonic() + self._settings.lease_s
        while True:
            try:
                return await write()
            except Exception as exc:
                # The one place that catches everything: whatever the data of a job cause in a
                # statement, its batch and the worker go on.
                if not pauses_worker(exc):
                    return exc
                # Another worker may be the right one for this database: it is to have the jobs.
                is_ours = isinstance(exc, InstallationError)
                if is_ours or time.monotonic() > give_up_at or self._fetcher.is_closed:
                    raise
                await self._fetcher.pause(exc, in_job=True)

    def _drop_leases(
        self,
        jobs: Sequence[ClaimedJob],
        failures: Sequence[JobFailure],
        matches: dict[UUID, int | None],
    ) -> None:
        completed = [job for job in jobs if job.id in matches]
        ended = {job.id for job in completed} | {failure.job.id for failure in failures}
        self._drop_lost(job for job in jobs if job.id not in ended)
        self._leases.drop([*completed, *(failure.job for failure in failures)])
        for job in completed:
            self._observer.completed(job, matches[job.id])
            if (count := matches[job.id]) is None:
                log.info("photo waits for a decision; see `automatch photos`", **job.log_fields)
            else:
                log.info("job completed", **job.log_fields, attempt=job.attempts, matches=count)

    def _drop_lost(self, jobs: Iterable[ClaimedJob]) -> None:
        for job in jobs:
            log.warning("job lost to another worker", **job.log_fields)
            self._leases.drop([job])
            self._observer.lost()
