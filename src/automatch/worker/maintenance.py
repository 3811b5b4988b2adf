"""What has to be done from time to time: lost claims, erased photos, old jobs, and the like.

Every worker runs this. Each duty is harmless when two do it at once: rows are taken with
`skip locked`, and deleting a file twice is deleting it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from automatch.errors import AutomatchError
from automatch.model.people import SERVICE
from automatch.photos.folder import PhotoStore
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store import (
    duplicates,
    faces,
    model_changes,
    queue,
    scales,
    search,
    thresholds,
)
from automatch.store.database import Connection, Database

_ERASE_EVERY_S = 5.0
_CLEAN_EVERY_S = 3600.0
_BETWEEN_BATCHES_S = 0.05
_AUDIT_DAYS = 30
_LEAST_RECALL = 0.999

log = structlog.get_logger(__name__)


class MaintenanceRunner:
    """Runs the duties, each at its own pace."""

    def __init__(
        self,
        db: Database,
        photos: PhotoStore,
        worker: WorkerSettings,
        retention: RetentionSettings,
    ) -> None:
        self._db = db
        self._photos = photos
        self._worker = worker
        self._retention = retention

    async def run(self) -> None:
        """Do every duty now and then again and again, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_repeat(self.sweep, self._worker.sweep_s))
            group.create_task(_repeat(self.search_again, self._worker.sweep_s))
            group.create_task(_repeat(self.detect_duplicates, self._worker.sweep_s))
            group.create_task(_repeat(self.rescore, _CLEAN_EVERY_S))
            group.create_task(_repeat(self.follow_model, self._worker.sweep_s))
            group.create_task(_repeat(self.erase_photos, _ERASE_EVERY_S))
            group.create_task(_repeat(self.clean_up_jobs, _CLEAN_EVERY_S))
            group.create_task(_repeat(self.clean_up_photos, _CLEAN_EVERY_S))
            group.create_task(_repeat(self.erase_unanswered, _CLEAN_EVERY_S))
            group.create_task(_repeat(self.watch_recall, _CLEAN_EVERY_S))

    async def sweep(self) -> None:
        """Take back the jobs of workers that stopped answering."""
        async with self._db.connection() as conn:
            count = await queue.sweep_jobs(conn)
        if count:
            log.warning("lost jobs taken back", count=count)

    async def search_again(self) -> None:
        """Queue some photos of a search again for everybody, while the queue is short."""
        async with self._db.connection() as conn:
            count = await thresholds.enqueue_reruns(conn)
        if count:
            log.info("photos looked through to search again", count=count)

    async def detect_duplicates(self) -> None:
        """Compare new photos with all of their school, while no job waits for its turn."""
        flagged = 0

        async def compare(conn: Connection) -> int:
            nonlocal flagged
            checked, new = await duplicates.detect_duplicates(conn)
            flagged += new
            return checked

        await self._in_batches(compare)
        if flagged:
            log.info(
                "accounts that look like one person; see `automatch duplicates`", pairs=flagged
            )

    async def rescore(self) -> None:
        """End the scoring of matches with a new scale, should the command have been stopped."""
        total = await self._in_batches(scales.rescore_matches)
        if total:
            log.info("matches scored again", count=total)

    async def follow_model(self) -> None:
        """Score matches with the model in use once that has changed; drop those of one given up."""
        await self._in_batches(model_changes.check_same_person)
        renewed = await self._in_batches(model_changes.rescore_matches_for_model)
        dropped = await self._in_batches(model_changes.delete_unrescored_matches)
        if renewed or dropped:
            log.info("matches follow the model", looked_at=renewed, dropped=dropped)

    async def erase_photos(self) -> None:
        """Delete the files of faces that were deleted."""
        async with self._db.as_user(SERVICE) as conn:
            paths = await faces.list_erasures(conn)
        if not paths:
            return
        await self._photos.erase(paths)
        async with self._db.as_user(SERVICE) as conn:
            await faces.forget_erasures(conn, paths)
        log.info("photos erased", count=len(paths))

    async def clean_up_jobs(self) -> None:
        """Delete finished jobs of long ago, a few at a time so that nobody waits for it."""
        total = await self._in_batches(
            lambda conn: queue.clean_up_jobs(conn, self._retention.jobs_days)
        )
        if total:
            log.info("old jobs deleted", count=total)

    async def erase_unanswered(self) -> None:
        """Erase photos whose owners were asked a day ago which face is theirs."""
        total = await self._in_batches(
            lambda conn: queue.erase_unanswered_photos(conn, self._retention.refused_uploads_s)
        )
        if total:
            log.info("photos that nobody answered for erased", count=total)

    async def watch_recall(self) -> None:
        """Warn when searches miss people, and forget audits of long ago."""
        async with self._db.connection() as conn:
            seen = await search.read_recall(conn)
            await search.clean_up_audits(conn, _AUDIT_DAYS)
        if seen.recall is not None and seen.recall < _LEAST_RECALL:
            log.warning(
                "searches miss people; see `automatch tune`",
                recall=round(seen.recall, 5),
                audits=seen.audits,
                short_answers=seen.short_answers,
            )

    async def clean_up_photos(self) -> None:
        """Delete files that no face names, and uploads that were refused a day ago."""
        orphans = await self._photos.list_older_than(
            self._retention.orphan_photos_s, uploads_only=False
        )
        refused = await self._photos.list_older_than(
            self._retention.refused_uploads_s, uploads_only=True
        )
        async with self._db.as_user(SERVICE) as conn:
            known = await faces.list_known_photos(conn, orphans)
            needed = await faces.list_unfinished_photos(conn, refused)
        await self._photos.erase(set(orphans) - known)
        for path in set(refused) - needed:
            await self._photos.drop_upload(path)

    async def _in_batches(self, do: Callable[[Connection], Awaitable[int]]) -> int:
        """Do something until nothing is left; nobody has to wait for it, and it for nobody."""
        total = 0
        while True:
            async with self._db.connection() as conn:
                count = await do(conn)
            if not count:
                return total
            total += count
            await asyncio.sleep(_BETWEEN_BATCHES_S)


async def _repeat(duty: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        try:
            await duty()
        except (AutomatchError, OSError) as exc:
            log.warning("duty put off", duty=duty.__name__, error=type(exc).__name__)
        await asyncio.sleep(every_s)
