"""A worker's parts on a database of a test's own, with photos that need no looking at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
import psycopg

from automatch.model.faces import FaceBox
from automatch.photos.folder import PhotoStore
from automatch.search.batch import BatchSearch
from automatch.settings.database import PoolSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database as Pool
from automatch.vision import FaceAnalyzer
from automatch.vision.results import DetectedFace, FaceExtraction
from automatch.worker.maintenance import MaintenanceRunner
from automatch.worker.run import WorkerContext
from automatch.worker.worker import Worker
from tests.support import build
from tests.support.postgres import Database


class NoPhotos:
    """A photo store in which every photo is its own path."""

    async def read(self, path: str) -> bytes:
        return path.encode()

    async def put_copies(self, path: str, *, full: bytes, thumb: bytes) -> None:
        """Keep nothing."""

    async def drop_upload(self, path: str) -> None:
        """Drop nothing."""

    async def list_older_than(self, seconds: float, *, uploads_only: bool) -> list[str]:
        return []

    async def erase(self, paths: Iterable[str]) -> None:
        """Erase nothing."""


class FakeAnalyzer:
    """Sees the same face on each photo, after doing what a test wants with its path."""

    model_id = "dlib"
    is_ready = True

    def __init__(self, look: Callable[[str], Any] | None = None) -> None:
        self._look = look

    async def ready(self) -> None:
        """Return at once."""

    async def extract(
        self, photo: bytes, chosen: FaceBox | None = None, *, model: str = "dlib"
    ) -> FaceExtraction:
        if self._look is not None:
            done = self._look(photo.decode())
            if asyncio.iscoroutine(done):
                await done
        face = DetectedFace((0, 0, 9, 9), 1.0, np.zeros((5, 2)), build.unit(0))
        return FaceExtraction(face, {"sharpness": 1.0}, b"", b"", {"embed": 1.0})


def settings_of(**more: Any) -> WorkerSettings:
    """Return settings under which only what a test does wakes a worker."""
    return WorkerSettings(**({"poll_s": 60, "sweep_s": 600, "backoff_s": 600} | more))


@asynccontextmanager
async def working(
    database: Database, look: Callable[[str], Any] | None = None, **more: Any
) -> AsyncIterator[Worker]:
    """Run a worker until left."""
    settings = settings_of(**more)
    photos = cast("PhotoStore", NoPhotos())
    async with Pool(database.worker, PoolSettings(), name="automatch-worker") as db:
        analyzer = cast("FaceAnalyzer", FakeAnalyzer(look))
        search = BatchSearch(db, max_bytes=0)
        bench = WorkerContext(db, photos, analyzer, settings, search, asyncio.Semaphore(8))
        worker = Worker(bench, MaintenanceRunner(db, photos, settings, RetentionSettings()))
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await running


class Onlooker:
    """A connection of the owner that waits for what it wants to see."""

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self.conn = conn

    async def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return await (await self.conn.execute(query, parameters)).fetchall()

    async def until(self, query: str, *parameters: Any, seconds: float = 30) -> None:
        """Wait until a query gives true; the database tells when jobs change."""
        async with asyncio.timeout(seconds):
            while not (await self.rows(query, *parameters))[0][0]:
                async for _ in self.conn.notifies(timeout=0.05, stop_after=1):
                    pass


@asynccontextmanager
async def onlooker(database: Database) -> AsyncIterator[Onlooker]:
    """Give a connection that hears of every change."""
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn:
        await conn.execute("listen automatch_feed")
        yield Onlooker(conn)
