"""A real worker, or a peer's, in a process of its own that its parent starts and ends."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import psutil
from threadpoolctl import threadpool_limits

from automatch.cli.runtime.logging_setup import configure_logging
from automatch.errors.photo import ImageDamagedError
from automatch.model.faces import FaceBox
from automatch.photos.store import ListedPhoto
from automatch.search.batch import BatchSearch
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.vision import VisionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database as Store
from automatch.vision import FaceExtraction
from automatch.worker.maintenance import MaintenanceRunner
from automatch.worker.run import WorkerContext
from automatch.worker.worker import Worker
from benchmarks.queue.peers import watch_pgqueuer, watch_procrastinate
from tests.support.postgres import Database


class RunningWorker:
    """A worker as its parent sees it."""

    def __init__(self, process: multiprocessing.Process, pipe: Connection) -> None:
        self._pipe = pipe
        self._process = process

    @property
    def rss_bytes(self) -> int:
        return int(psutil.Process(self._process.pid).memory_info().rss)

    @property
    def cpu_s(self) -> float:
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    async def start(self) -> None:
        """Let it claim."""
        self._pipe.send(None)

    async def next_start(self, timeout_s: float = 30) -> float:
        """Return the time, on the clock of this machine, at which it began its next job."""
        if not await asyncio.to_thread(self._pipe.poll, timeout_s):
            raise TimeoutError("no job was started")
        return float(self._pipe.recv())


@asynccontextmanager
async def running(kind: str, database: Database) -> AsyncIterator[RunningWorker]:
    """Start a worker of *kind* that is connected and waits to be let."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(kind, database, theirs), daemon=True)
    process.start()
    try:
        if not await asyncio.to_thread(ours.poll, 60):
            raise TimeoutError(f"the worker {kind} did not start")
        ours.recv()
        yield RunningWorker(process, ours)
    finally:
        process.terminate()
        process.join()


class _NoAnalyzer:
    """Analyzes nothing: every face that is searched for has its embedding."""

    model_id = "dlib"
    is_ready = True

    async def ready(self) -> None:
        """Return at once."""

    async def extract(self, _: bytes, __: FaceBox | None = None) -> FaceExtraction:
        raise NotImplementedError


class _NoPhotos:
    """Has no photos; reports when one is read, which is where a job begins."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    async def read(self, _: str) -> bytes:
        self._pipe.send(time.monotonic())
        raise ImageDamagedError

    async def put_upload(self, path: str, data: bytes) -> NoReturn:
        raise NotImplementedError

    async def put_copies(self, path: str, *, full: bytes, thumb: bytes) -> NoReturn:
        raise NotImplementedError

    async def drop_upload(self, path: str) -> None: ...

    async def read_copy(self, path: str, size: str) -> bytes | None: ...

    async def erase(self, paths: Iterable[str]) -> dict[str, str]:  # noqa: ARG002  named by the protocol
        return {}

    async def list_page(self, part: str, after: str) -> list[ListedPhoto]:  # noqa: ARG002  named by the protocol
        return []


def _main(kind: str, database: Database, pipe: Connection) -> None:
    # The log is written as in production; nobody reads it.
    with Path(os.devnull).open("w") as nowhere:
        sys.stderr = nowhere
        asyncio.run(_KINDS[kind](database, pipe))


async def _be_ready(pipe: Connection) -> None:
    pipe.send(None)
    await asyncio.to_thread(pipe.recv)


async def _run_ours(database: Database, pipe: Connection) -> None:
    await _run_worker(database, pipe, WorkerSettings().search_cache_mb)


async def _run_queue(database: Database, pipe: Connection) -> None:
    """Leave the search to the database, where it is switched off."""
    await _run_worker(database, pipe, 0)


async def _run_worker(database: Database, pipe: Connection, search_cache_mb: int) -> None:
    configure_logging(Settings())
    settings = WorkerSettings()
    photos = _NoPhotos(pipe)
    async with Store(database.worker, PoolSettings(), name="automatch-worker") as db:
        search = BatchSearch(db, max_bytes=search_cache_mb * 1024**2)
        inference_slots = asyncio.Semaphore(VisionSettings().threads)
        worker = Worker(
            WorkerContext(db, photos, _NoAnalyzer(), settings, search, inference_slots),
            MaintenanceRunner(db, photos, settings, RetentionSettings()),
        )
        with threadpool_limits(1, user_api="blas"):
            await _be_ready(pipe)
            await worker.run()


async def _run_pgqueuer(database: Database, pipe: Connection) -> None:
    await _be_ready(pipe)
    await watch_pgqueuer(database, lambda: pipe.send(time.monotonic()))


async def _run_procrastinate(database: Database, pipe: Connection) -> None:
    await _be_ready(pipe)
    await watch_procrastinate(database, lambda: pipe.send(time.monotonic()))


_KINDS = {
    "ours": _run_ours,
    "queue": _run_queue,
    "pgqueuer": _run_pgqueuer,
    "procrastinate": _run_procrastinate,
}
