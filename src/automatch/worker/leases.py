"""The leases of a worker's jobs, and the heartbeat thread that renews them.

The heartbeat has its own thread, event loop and connection, so work that keeps the worker's loop
or the GIL busy does not cost it its jobs. A batch that is held for much longer than its jobs may
take is no longer renewed, so that another worker takes it over.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from automatch.errors.store import InstallationError
from automatch.model.jobs import ClaimedJob
from automatch.settings.database import PoolSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.queue import queue

_MAX_HOLD_TIMEOUTS = 5
"""A job is renewed for this many times `job_timeout_s`: its batch waits, runs and is completed."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Lease:
    job: ClaimedJob
    renew_until: float


class Leases:
    """The jobs a worker holds. `hold`, `drop` and `held` are for the worker's own loop."""

    def __init__(
        self,
        conninfo: str,
        settings: WorkerSettings,
        on_lost: Callable[[ClaimedJob], None],
        on_fault: Callable[[InstallationError], None],
    ) -> None:
        """Hold nothing yet.

        Both are called in the loop that runs `run_heartbeat`: *on_lost* for a job that another
        worker holds now, *on_fault* when leases cannot be renewed as long as nobody acts.
        """
        self._conninfo = conninfo
        self._settings = settings
        self._on_lost = on_lost
        self._on_fault = on_fault
        self._leases: dict[UUID, _Lease] = {}
        self._lock = threading.Lock()

    def hold(self, jobs: Iterable[ClaimedJob]) -> None:
        """Renew the leases of these jobs from now on."""
        until = time.monotonic() + _MAX_HOLD_TIMEOUTS * self._settings.job_timeout_s
        with self._lock:
            self._leases |= {job.id: _Lease(job, until) for job in jobs}

    def drop(self, jobs: Iterable[ClaimedJob]) -> None:
        """Stop renewing the leases of these jobs: they are completed, released or lost."""
        with self._lock:
            for job in jobs:
                lease = self._leases.get(job.id)
                if lease is not None and lease.job.token == job.token:
                    del self._leases[job.id]

    def held(self) -> list[ClaimedJob]:
        """Return the jobs that are held, in no order."""
        with self._lock:
            return [lease.job for lease in self._leases.values()]

    async def run_heartbeat(self) -> None:
        """Renew the leases until cancelled. Raises what ends the thread."""
        loop = asyncio.get_running_loop()
        started: asyncio.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]
        started = loop.create_future()

        async def heartbeat() -> None:
            stop = asyncio.Event()
            loop.call_soon_threadsafe(started.set_result, (asyncio.get_running_loop(), stop))
            await self._renew_until(stop, loop)

        with ThreadPoolExecutor(1, thread_name_prefix="heartbeat") as thread:
            running = loop.run_in_executor(thread, lambda: asyncio.run(heartbeat()))
            try:
                await asyncio.shield(running)
            finally:
                begun: set[asyncio.Future[Any]] = {started, running}
                await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
                if started.done():
                    heartbeat_loop, stop = started.result()
                    # The loop of a thread that has ended is closed.
                    with suppress(RuntimeError):
                        heartbeat_loop.call_soon_threadsafe(stop.set)
                # Whoever cancelled this is not told what the thread raises on its way out.
                await asyncio.gather(running, return_exceptions=True)

    async def _renew_until(self, stop: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        pool = PoolSettings(
            min_size=0,
            max_size=1,
            timeout_s=self._settings.heartbeat_s / 2,
            transaction_timeout_s=self._settings.heartbeat_s / 2,
        )
        pause = self._settings.heartbeat_s
        async with Database(
            self._conninfo,
            pool,
            name="automatch-worker-heartbeat",
            for_worker=True,
            # Behind a pooler nothing stays prepared, and one statement every some seconds is cheap.
            prepare=False,
        ) as db:
            while not stop.is_set():
                try:
                    async with asyncio.timeout(pause):
                        await stop.wait()
                except TimeoutError:
                    renewed = await self._renew(db, loop)
                    # A failed renewal is tried again well before the leases expire.
                    pause = self._settings.heartbeat_s / (1 if renewed else 5)

    async def _renew(self, db: Database, loop: asyncio.AbstractEventLoop) -> bool:
        now = time.monotonic()
        with self._lock:
            due = [lease.job for lease in self._leases.values() if lease.renew_until > now]
        if not due:
            return True
        try:
            async with db.connection() as conn:
                renewed = await queue.renew_leases(conn, due, self._settings.lease_s)
        except Exception as exc:
            # Whatever a statement raises, the next beat may renew them.
            log.warning("leases not renewed", exc_info=exc)
            if isinstance(exc, InstallationError):
                loop.call_soon_threadsafe(self._on_fault, exc)
            return False
        lost = [job for job in due if job.id not in renewed]
        # A job that was completed while the answer was on its way is no longer held, and not lost.
        for job in set(lost).intersection(self.held()):
            log.warning("job lost to another worker", **job.log_fields)
            loop.call_soon_threadsafe(self._on_lost, job)
        return True
