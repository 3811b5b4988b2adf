"""A worker in the test's own process, with a fake face analyzer and no photos."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
import psycopg

from automatch.model.faces import FaceBox
from automatch.photos.store import ListedPhoto, PhotoStore
from automatch.search.batch import BatchSearch
from automatch.settings.database import PoolSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database as Pool
from automatch.vision import FaceAnalyzer
from automatch.vision.results import DetectedFace, FaceExtraction
from automatch.worker.maintenance import MaintenanceRunner
from automatch.worker.observer import JobObserver
from automatch.worker.run import WorkerContext
from automatch.worker.worker import Worker
from tests.support import build
from tests.support.postgres import Database
from tests.support.waiting import PATIENCE_S


class NoPhotos:
    """A photo store in which every photo is its own path."""

    async def read(self, path: str) -> bytes:
        return path.encode()

    async def put_copies(self, path: str, *, full: bytes, thumb: bytes) -> None:
        """Store nothing."""

    async def drop_upload(self, path: str) -> None:
        """Delete nothing."""

    async def list_page(self, part: str, after: str) -> list[ListedPhoto]:
        return []

    async def erase(self, paths: Iterable[str]) -> dict[str, str]:
        return {}


class FakeAnalyzer:
    """Finds the same face on each photo, after calling a function of the test with its path."""

    model_id = "dlib"
    is_ready = True

    def __init__(self, on_extract: Callable[[str], Any] | None = None) -> None:
        self._on_extract = on_extract

    async def ready(self) -> None:
        """Return at once."""

    async def extract(
        self,
        photo: bytes,
        chosen: FaceBox | None = None,
        *,
        model: str = "dlib",
        enforce_quality: bool = True,
    ) -> FaceExtraction:
        if self._on_extract is not None:
            result = self._on_extract(photo.decode())
            if asyncio.iscoroutine(result):
                await result
        face = DetectedFace((0, 0, 9, 9), 1.0, np.zeros((5, 2)), build.unit(0))
        return FaceExtraction(face, {"sharpness": 1.0}, b"", b"", {"embed": 1.0})


def worker_settings(**options: Any) -> WorkerSettings:
    """Return settings with which a worker does nothing by itself: only the test wakes it."""
    return WorkerSettings(**({"poll_s": 600, "sweep_s": 600, "backoff_s": 600} | options))


@asynccontextmanager
async def open_fake_worker(
    database: Database,
    on_extract: Callable[[str], Any] | None = None,
    *,
    slots: int = 8,
    photos: PhotoStore | None = None,
    backfill_concurrency: int = 0,
    observer: JobObserver | None = None,
    **options: Any,
) -> AsyncIterator[Worker]:
    """Give a worker that does not run yet, which analyzes *slots* photos at a time."""
    settings = worker_settings(**options)
    photos = photos or cast("PhotoStore", NoPhotos())
    pool = Pool(database.worker, PoolSettings(), name="automatch-worker", for_worker=True)
    async with pool as db:
        context = WorkerContext(
            db,
            photos,
            cast("FaceAnalyzer", FakeAnalyzer(on_extract)),
            settings,
            BatchSearch(db, max_bytes=0),
            asyncio.Semaphore(slots),
            asyncio.Semaphore(max(1, slots - 1)),
            backfill_concurrency,
            observer or JobObserver(),
        )
        yield Worker(context, MaintenanceRunner(db, photos, settings, RetentionSettings()))


@asynccontextmanager
async def run_worker(
    database: Database, on_extract: Callable[[str], Any] | None = None, **options: Any
) -> AsyncIterator[Worker]:
    """Run a worker of `open_fake_worker` while the block lasts."""
    async with open_fake_worker(database, on_extract, **options) as worker:
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await running


class Observer:
    """A connection of the owner on which a test waits for a condition."""

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self.conn = conn

    async def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return await (await self.conn.execute(query, parameters)).fetchall()

    async def wait_until(self, query: str, *parameters: Any, seconds: float = PATIENCE_S) -> None:
        """Wait until a query returns true; the database notifies of every change of a job."""
        async with asyncio.timeout(seconds):
            while not (await self.rows(query, *parameters))[0][0]:
                async for _ in self.conn.notifies(timeout=0.05, stop_after=1):
                    pass


@asynccontextmanager
async def observe(database: Database) -> AsyncIterator[Observer]:
    """Give a connection that is notified of every change."""
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn:
        await conn.execute("listen automatch_feed")
        yield Observer(conn)
