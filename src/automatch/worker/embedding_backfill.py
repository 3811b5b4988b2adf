"""Embeddings of the stored photos with a model that is being prepared.

Nobody waits for this work. Photos from before the change are claimed only while no upload is
pending, except for a few each second, so that the change ends on a busy day too. Photos that came
in since are claimed at once: a change is complete only when no photo is missing. A photo whose
claim expires is claimed again, by this worker or another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import structlog

from automatch.errors.job import JobError, PhotoMissingError
from automatch.errors.photo import PhotoRejectedError
from automatch.errors.upload import UploadError
from automatch.store.matching import model_changes
from automatch.store.matching.model_changes import PhotoEmbedding, PhotoRefusal, PhotoToEmbed
from automatch.store.outage_log import OutageLog

if TYPE_CHECKING:
    from automatch.worker.run import WorkerContext

_PAUSE_S = 0.2
"""Pause while there are no photos to claim."""
_MAX_WAIT_S = 1.0
"""How long pending uploads may keep the backfill waiting."""
_IDLE_SWEEPS = 6
"""Between two looks for a model that is being prepared, in units of `sweep_s`."""
_PHOTOS_PER_SLOT = 4
"""Photos claimed at once per photo analyzed at a time, so that not each one costs a commit."""

log = structlog.get_logger(__name__)


class EmbeddingBackfill:
    """Embeds stored photos while a model is being prepared."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        # At most this many wait for an inference slot, so that an upload need not wait for long.
        self._backfill_slots = asyncio.Semaphore(context.backfill_concurrency)
        self._claimed_at = 0.0

    async def run(self) -> None:
        """Embed photos whenever there are some, until cancelled."""
        outage = OutageLog("embedding backfill failed", end="embedding backfill works again")
        while True:
            pause: float | None = None
            try:
                async with self._context.db.connection() as conn:
                    model = await model_changes.read_preparing_model(conn)
                if model is not None:
                    pause = 0.0 if await self._embed_next(model) else _PAUSE_S
                outage.ended()
            except Exception as exc:
                # Uploads go on whatever ails the stored photos.
                outage.failed(type(exc).__name__, level=logging.ERROR, exc_info=True)
            if pause is not None:
                await asyncio.sleep(pause)
                continue
            await self._context.lookout.wait(
                _IDLE_SWEEPS * self._context.settings.sweep_s,
                lambda look: look.preparing_model is not None,
            )

    async def _embed_next(self, model: str) -> bool:
        """Embed the next photos; return False when there are none to claim now."""
        context = self._context
        async with context.db.connection() as conn:
            photos = await model_changes.lease_photos(
                conn,
                model=model,
                limit=context.backfill_concurrency * _PHOTOS_PER_SLOT,
                lease_s=context.settings.lease_s,
                anyway=time.monotonic() - self._claimed_at > _MAX_WAIT_S,
            )
        if not photos:
            return False
        self._claimed_at = time.monotonic()
        results = await asyncio.gather(
            *(self._extract(photo, model) for photo in photos), return_exceptions=True
        )
        embedded: list[PhotoEmbedding] = []
        refused: list[PhotoRefusal] = []
        other_error: BaseException | None = None
        for photo, result in zip(photos, results, strict=True):
            match result:
                case PhotoEmbedding():
                    embedded.append(result)
                case PhotoRejectedError() | UploadError() | PhotoMissingError():
                    refused.append(PhotoRefusal(photo, result))
                case JobError() | TimeoutError() | MemoryError():
                    # It stays claimed, and is given up after some attempts.
                    log.warning("photo not embedded", error=type(result).__name__)
                case BaseException():
                    other_error = result
        async with context.db.connection() as conn:
            if embedded:
                await model_changes.store_embeddings(conn, model, embedded)
            if refused:
                await model_changes.store_refusals(conn, model, refused)
        if other_error is not None:
            raise other_error
        return True

    async def _extract(self, photo: PhotoToEmbed, model: str) -> PhotoEmbedding:
        context = self._context
        async with (
            self._backfill_slots,
            context.inference_slots,
            asyncio.timeout(context.settings.lease_s),
        ):
            data = await context.photos.read(photo.image_path)
            extraction = await context.analyzer.extract(data, model=model, enforce_quality=False)
        return PhotoEmbedding(
            photo, extraction.face.embedding, extraction.measured, extraction.detector
        )
