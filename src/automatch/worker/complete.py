"""How a batch is written: at most two commits, whatever its size.

The embeddings are committed before the search: of two people who upload at once, at least the
search that comes later finds the other. Jobs that look through one group are searched for together,
in memory. The searches of all others, the matches, both feeds and the ends of all
jobs are the second commit, which takes the next batch along. A batch that cannot be written whole
is halved until the job is alone that is to blame. Trouble of the machine halves nothing: it is
waited out, for as long as the leases may last.
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

from automatch.errors.store import StoreError
from automatch.model.jobs import ClaimedJob
from automatch.photos.folder import PhotoStore
from automatch.search.batch import BatchSearch
from automatch.settings.worker import WorkerSettings
from automatch.store import queue
from automatch.store.database import Database
from automatch.store.queue import Claim, Refusal, SeenJob, Settled, Settlement
from automatch.worker.failures import MACHINE_TROUBLE, refusal_of, sort_out
from automatch.worker.fetch import Line
from automatch.worker.leases import Leases

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class JobCompleter:
    """Writes what came of the jobs of a worker."""

    def __init__(
        self,
        db: Database,
        photos: PhotoStore,
        line: Line,
        leases: Leases,
        settings: WorkerSettings,
        *,
        search: BatchSearch,
    ) -> None:
        self._db = db
        self._search = search
        self._photos = photos
        self._line = line
        self._leases = leases
        self._settings = settings

    async def keep(self, seen: Sequence[SeenJob]) -> tuple[list[ClaimedJob], list[Refusal]]:
        """Keep the embeddings of a batch; from now on others find these faces.

        Returns:
            The jobs to be searched for, and those whose embedding could not be kept.
        """
        if not seen:
            return [], []
        kept, poison = await self._halving(list(seen), self._store)
        jobs = [one.job for one in seen if one.job.id in kept]
        await asyncio.gather(*(self._drop_upload(job) for job in jobs))
        refused = [refusal_of(one.job, exc) for one, exc in poison]
        spoiled = {one.job.id for one in refused}
        self._lose(one.job for one in seen if one.job.id not in kept and one.job.id not in spoiled)
        return jobs, refused

    async def settle(
        self, done: Sequence[ClaimedJob], refused: Sequence[Refusal], *, claim: Claim | None
    ) -> list[ClaimedJob]:
        """Search for *done*, write down why *refused* did not work out, claim the next batch."""
        refused = list(refused)
        settlement = self._settlement(done, refused, claim)
        settled = await self._attempt(lambda: self._settle(settlement))
        matches: dict[UUID, int] = {}
        if isinstance(settled, Exception):
            if not done:
                raise settled
            found, poison = await self._halving(list(done), self._complete)
            matches = found
            refused += [refusal_of(job, exc) for job, exc in poison]
            rest = self._settlement((), refused, claim)
            settled = await self._attempt(lambda: queue.settle(self._db, rest, self._settings))
            if isinstance(settled, Exception):
                raise settled
        self._report(done, refused, matches | settled.matches)
        if refused:
            self._line.nudge()
        self._line.took(settled.claimed)
        self._line.fine()
        return settled.claimed

    async def give_back(self, jobs: Sequence[ClaimedJob]) -> None:
        """Return jobs that were not begun; it costs them nothing."""
        try:
            async with self._db.connection() as conn:
                await queue.release_jobs(conn, jobs)
        except StoreError as exc:
            log.warning("jobs could not be given back; their leases run out", code=exc.code)
        self._leases.drop(jobs)

    def _settlement(
        self, done: Sequence[ClaimedJob], refused: Sequence[Refusal], claim: Claim | None
    ) -> Settlement:
        sorted_out = sort_out(refused)
        return Settlement(
            complete=done,
            fail=sorted_out.fail,
            retry=sorted_out.retry,
            release=sorted_out.release,
            release_delay_s=self._settings.backoff_s,
            claim=claim,
        )

    async def _drop_upload(self, job: ClaimedJob) -> None:
        # The clean copy is there, and so is the embedding: nobody needs the upload any more.
        try:
            await self._photos.drop_upload(job.image_path)
        except (OSError, StoreError) as exc:
            log.warning("upload not deleted yet", job=str(job.id), error=type(exc).__name__)

    async def _settle(self, settlement: Settlement) -> Settled:
        shortlists = await self._search.shortlists(settlement.complete)
        return await queue.settle(
            self._db, replace(settlement, shortlists=shortlists), self._settings
        )

    async def _store(self, seen: Sequence[SeenJob]) -> dict[UUID, int]:
        # A batch comes from one claim, so from one model; a lane may hold the rest of another.
        kept: dict[UUID, int] = {}
        for model, some in groupby(seen, lambda one: one.model):
            async with self._db.connection() as conn:
                kept |= dict.fromkeys(
                    await queue.store_embeddings(conn, list(some), model=model), 0
                )
        return kept

    async def _complete(self, jobs: Sequence[ClaimedJob]) -> dict[UUID, int]:
        return (await queue.settle(self._db, Settlement(complete=jobs), self._settings)).matches

    async def _halving(
        self, items: list[_T], write: Callable[[Sequence[_T]], Awaitable[dict[UUID, int]]]
    ) -> tuple[dict[UUID, int], list[tuple[_T, Exception]]]:
        """Write all together, else in halves; return also what is to blame, with its error."""
        written = await self._attempt(lambda: write(items))
        if not isinstance(written, Exception):
            return written, []
        if len(items) == 1:
            return {}, [(items[0], written)]
        middle = len(items) // 2
        left, left_poison = await self._halving(items[:middle], write)
        right, right_poison = await self._halving(items[middle:], write)
        return left | right, left_poison + right_poison

    async def _attempt(self, write: Callable[[], Awaitable[_T]]) -> _T | Exception:
        """Write once the machine lets us; return the error that is not the machine's.

        Raises:
            StoreError: the machine was in trouble for longer than a lease.
        """
        give_up_at = time.monotonic() + self._settings.lease_s
        while True:
            try:
                return await write()
            except MACHINE_TROUBLE as exc:
                if time.monotonic() > give_up_at or self._line.is_closed:
                    raise
                await self._line.recover(exc)
            except Exception as exc:
                # The one place that catches everything: whatever a job's data make of a
                # statement, its batch and the worker live on.
                return exc

    def _report(
        self,
        done: Sequence[ClaimedJob],
        refused: Sequence[Refusal],
        matches: dict[UUID, int],
    ) -> None:
        completed = [job for job in done if job.id in matches]
        gone = {job.id for job in completed} | {one.job.id for one in refused}
        self._lose(job for job in done if job.id not in gone)
        self._leases.drop([*completed, *(one.job for one in refused)])
        for job in completed:
            log.info(
                "job completed", job=str(job.id), attempt=job.attempts, matches=matches[job.id]
            )

    def _lose(self, jobs: Iterable[ClaimedJob]) -> None:
        for job in jobs:
            log.warning("job lost to another worker", job=str(job.id))
            self._leases.drop([job])
