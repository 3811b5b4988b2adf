"""A worker for a server that has none: started when it is needed, stopped when nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from automatch.settings import Settings
from automatch.worker.process import start_worker_process

log = structlog.get_logger(__name__)


class OnDemandWorker:
    """At most one worker process of this server, shared by all who wait for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._process: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Have it work while the block lasts; it finishes what it holds, and gives back the rest.

        Raises:
            OSError: no process can be started.
        """
        async with self._turn:
            self._waiting += 1
            try:
                if self._process is None or self._process.returncode is not None:
                    self._process = await start_worker_process(self._settings)
                    log.info("spare worker started")
            except BaseException:
                self._waiting -= 1
                raise
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting and self._process is not None:
                assert self._process.stdin is not None
                self._process.stdin.close()
                self._process = None
