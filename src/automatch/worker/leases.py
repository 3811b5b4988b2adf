"""What a worker holds, and the thread that keeps it.

The heartbeat has a thread, an event loop and a connection of its own: work that keeps the worker's
loop or the GIL busy does not cost it its jobs. It renews only what still gets on: a batch that has
been held for much longer than its jobs may take is let go, for another worker to take over.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

import structlog

from automatch.errors.store import StoreError
from automatch.model.jobs import ClaimedJob
from automatch.settings.database import PoolSettings
from automatch.settings.worker import WorkerSettings
from automatch.store import queue
from automatch.store.database import Database

_PATIENCE = 5
"""So many times as long as one job may take: a batch waits for its turn, works and is settled."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Hold:
    job: ClaimedJob
    until: float


class Leases:
    """The jobs of a worker. `hold`, `drop` and `held` are for the worker's own loop."""

    def __init__(
        self, conninfo: str, settings: WorkerSettings, on_lost: Callable[[ClaimedJob], None]
    ) -> None:
        """Hold nothing yet; *on_lost* is called in the loop of `keep`."""
        self._conninfo = conninfo
        self._settings = settings
        self._on_lost = on_lost
        self._holds: dict[UUID, _Hold] = {}
        self._guard = threading.Lock()

    def hold(self, jobs: Iterable[ClaimedJob]) -> None:
        """Keep these jobs from now on."""
        until = time.monotonic() + _PATIENCE * self._settings.job_timeout_s
        with self._guard:
            self._holds |= {job.id: _Hold(job, until) for job in jobs}

    def drop(self, jobs: Iterable[ClaimedJob]) -> None:
        """Keep these jobs no longer: they are settled or lost."""
        with self._guard:
            for job in jobs:
                hold = self._holds.get(job.id)
                if hold is not None and hold.job.token == job.token:
                    del self._holds[job.id]

    def held(self) -> list[ClaimedJob]:
        """Return what is held, in no order."""
        with self._guard:
            return [hold.job for hold in self._holds.values()]

    async def keep(self) -> None:
        """Renew what is held again and again, until cancelled. Raises what breaks the thread."""
        loop = asyncio.get_running_loop()
        inner: asyncio.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]
        inner = loop.create_future()

        async def beat() -> None:
            stop = asyncio.Event()
            loop.call_soon_threadsafe(inner.set_result, (asyncio.get_running_loop(), stop))
            await self._beat(stop, loop)

        with ThreadPoolExecutor(1, thread_name_prefix="heartbeat") as thread:
            beating = loop.run_in_executor(thread, lambda: asyncio.run(beat()))
            try:
                await asyncio.shield(beating)
            finally:
                if not beating.done():
                    beating_loop, stop = await inner
                    beating_loop.call_soon_threadsafe(stop.set)
                    await asyncio.wait({beating})

    async def _beat(self, stop: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        pool = PoolSettings(
            min_size=0,
            max_size=1,
            timeout_s=self._settings.heartbeat_s / 2,
            transaction_timeout_s=self._settings.heartbeat_s / 2,
        )
        pause = self._settings.heartbeat_s
        async with Database(self._conninfo, pool, name="automatch-worker-heartbeat") as db:
            while not stop.is_set():
                try:
                    async with asyncio.timeout(pause):
                        await stop.wait()
                except TimeoutError:
                    renewed = await self._renew(db, loop)
                    # A beat that failed is made up for well before the leases end.
                    pause = self._settings.heartbeat_s / (1 if renewed else 5)

    async def _renew(self, db: Database, loop: asyncio.AbstractEventLoop) -> bool:
        now = time.monotonic()
        with self._guard:
            alive = [hold.job for hold in self._holds.values() if hold.until > now]
        if not alive:
            return True
        try:
            async with db.connection() as conn:
                kept = await queue.renew_leases(conn, alive, self._settings.lease_s)
        except StoreError as exc:
            log.warning("leases not renewed", code=exc.code)
            return False
        lost = [job for job in alive if job.id not in kept]
        # What was settled while the answer was on its way is not held any more, and not lost.
        for job in set(lost).intersection(self.held()):
            log.warning("job lost to another worker", job=str(job.id))
            loop.call_soon_threadsafe(self._on_lost, job)
        return True
