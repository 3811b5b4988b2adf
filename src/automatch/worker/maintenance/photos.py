"""Maintenance of photos: files of deleted faces, uploads without an answer, and strays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from automatch.errors import AutomatchError
from automatch.model.people import SERVICE
from automatch.photos.store import ListedPhoto, PhotoStore
from automatch.settings.storage import RetentionSettings
from automatch.store.database import Database
from automatch.store.photos import faces
from automatch.store.queue import queue
from automatch.worker.maintenance.batches import BETWEEN_BATCHES_S, run_in_batches

_COPIES_PAGES = 50
"""Pages of copies that one sweep looks at: of a million photos each has its turn once a day."""

log = structlog.get_logger(__name__)


class PhotoTasks:
    """Deletes photos that are no longer kept; two workers may delete a file twice."""

    def __init__(self, db: Database, photos: PhotoStore, retention: RetentionSettings) -> None:
        self._db = db
        self._photos = photos
        self._retention = retention

    async def erase_photos(self) -> None:
        """Delete the files of faces that were deleted; those that cannot be are tried again."""
        erased = 0
        failed: dict[str, str] = {}
        while True:
            async with self._db.as_user(SERVICE) as conn:
                paths = await faces.list_erasures(conn)
            if not paths:
                break
            errors = await self._photos.erase(paths)
            async with self._db.as_user(SERVICE) as conn:
                await faces.forget_erasures(conn, [path for path in paths if path not in errors])
                await faces.postpone_erasures(conn, errors)
            erased += len(paths) - len(errors)
            failed |= errors
        if erased:
            log.info("photos erased", count=erased)
        if failed:
            log.error("photos not erased", count=len(failed), reasons=sorted(set(failed.values())))

    async def erase_unanswered_photos(self) -> None:
        """Erase photos whose owners have not said within a day which face is theirs."""
        total = await run_in_batches(
            self._db,
            lambda conn: queue.erase_unanswered_photos(conn, self._retention.refused_uploads_s),
        )
        if total:
            log.info("unanswered photos erased", count=total)

    async def clean_up_photos(self) -> None:
        """Delete uploads that nobody needs any more, and copies without a face.

        All that was uploaded and not analyzed lies apart. Of the copies some are looked at, from
        where the last time ended: those without a face are of workers that were killed while the
        face was deleted, or of a database that was restored.
        """
        failed: dict[str, str] = {}
        after = ""
        while page := await self._photos.list_page("uploads", after):
            after = page[-1].path
            failed |= await self._clean_up_page(page)
            await asyncio.sleep(BETWEEN_BATCHES_S)
        async with self._db.as_user(SERVICE) as conn:
            after = await faces.read_sweep_position(conn)
        for _ in range(_COPIES_PAGES):
            page = await self._photos.list_page("copies", after)
            if page:
                failed |= await self._clean_up_page(page, uploads=False)
            after = page[-1].path if page else ""
            async with self._db.as_user(SERVICE) as conn:
                await faces.move_sweep_position(conn, after)
            if not page:
                break
            await asyncio.sleep(BETWEEN_BATCHES_S)
        if failed:
            log.error(
                "stray photos not deleted", count=len(failed), reasons=sorted(set(failed.values()))
            )

    async def _clean_up_page(
        self, page: Sequence[ListedPhoto], *, uploads: bool = True
    ) -> dict[str, str]:
        old = {photo.path for photo in page if photo.age_s >= self._retention.orphan_photos_s}
        refused = {
            photo.path
            for photo in page
            if uploads and photo.age_s >= self._retention.refused_uploads_s
        }
        async with self._db.as_user(SERVICE) as conn:
            old -= await faces.list_known_photos(conn, list(old))
            refused -= old
            refused -= await faces.list_unfinished_photos(conn, list(refused))
        failed = await self._photos.erase(old)
        for path in refused:
            try:
                await self._photos.drop_upload(path)
            except (AutomatchError, OSError) as exc:
                failed[path] = str(exc)
        return failed
