"""Every kept photo seen once more, with the model that is being prepared.

Work that nobody waits for. Of the photos that were there before the change none is taken while an
upload waits for its turn, but for a few a second, so that the change comes to its end on a busy day
too. Those that came in since are taken at once: a change is over only when none is missing. What is
taken and not heard of again is taken anew, by this worker or another.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from automatch.errors import AutomatchError
from automatch.errors.embedder import EmbedderError
from automatch.errors.job import JobCrashedError, PhotoMissingError
from automatch.errors.photo import PhotoRejectedError
from automatch.store import model_changes
from automatch.store.model_changes import KeptPhoto, NotSeen, SeenAgain

if TYPE_CHECKING:
    from automatch.worker.run import WorkerContext

_PAUSE_S = 0.2
"""Between looks for photos, while there are none to take."""
_ANYWAY_S = 1.0
"""So long uploads may keep all others waiting."""
_ROUNDS = 4
"""Photos taken at once, for each that is looked at: a commit for every one would take longer."""

log = structlog.get_logger(__name__)


class EmbeddingBackfill:
    """Takes part in a change of the model, while there is one."""

    def __init__(self, bench: WorkerContext) -> None:
        self._bench = bench
        # No more of these than there are seats wait for one: an upload is next but one at worst.
        self._places = asyncio.Semaphore(bench.backfill_concurrency)
        self._took_at = 0.0

    async def run(self) -> None:
        """Look at photos whenever there are some, until cancelled."""
        while True:
            pause = self._bench.settings.sweep_s
            try:
                async with self._bench.db.connection() as conn:
                    model = await model_changes.read_preparing_model(conn)
                if model is not None:
                    pause = 0.0 if await self._look_at_some(model) else _PAUSE_S
            except (AutomatchError, OSError) as exc:
                log.warning("looking again put off", error=type(exc).__name__)
            await asyncio.sleep(pause)

    async def _look_at_some(self, model: str) -> bool:
        """Look at the next photos; False when there are none to be had now."""
        bench = self._bench
        async with bench.db.connection() as conn:
            photos = await model_changes.take_photos(
                conn,
                model=model,
                limit=bench.backfill_concurrency * _ROUNDS,
                lease_s=bench.settings.lease_s,
                anyway=time.monotonic() - self._took_at > _ANYWAY_S,
            )
        if not photos:
            return False
        self._took_at = time.monotonic()
        results = await asyncio.gather(
            *(self._see(photo, model) for photo in photos), return_exceptions=True
        )
        seen: list[SeenAgain] = []
        refused: list[NotSeen] = []
        trouble: EmbedderError | None = None
        for photo, result in zip(photos, results, strict=True):
            match result:
                case SeenAgain():
                    seen.append(result)
                case PhotoRejectedError() | PhotoMissingError():
                    refused.append(NotSeen(photo, result))
                case EmbedderError():
                    trouble = result
                case JobCrashedError() | TimeoutError() | MemoryError():
                    # It stays taken, and is given up after some tries.
                    log.warning("photo not seen", error=type(result).__name__)
                case BaseException():
                    raise result
        async with bench.db.connection() as conn:
            if seen:
                await model_changes.keep_seen(conn, model, seen)
            if refused:
                await model_changes.keep_refused(conn, model, refused)
        if trouble is not None:
            raise trouble
        return True

    async def _see(self, photo: KeptPhoto, model: str) -> SeenAgain:
        bench = self._bench
        async with self._places, bench.seats, asyncio.timeout(bench.settings.lease_s):
            data = await bench.photos.read(photo.image_path)
            seen = await bench.analyzer.extract(data, model=model, enforce_quality=False)
        return SeenAgain(photo, seen.face.embedding, seen.quality)
