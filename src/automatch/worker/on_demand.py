"""Worker processes that a server starts: beside it, or only while somebody waits for one."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from automatch.settings import Settings

log = structlog.get_logger(__name__)


class OnDemandWorker:
    """At most one worker process of this server, shared by all callers that need it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._users = 0
        self._process: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the worker running while the block lasts; it then finishes or releases its jobs.

        Raises:
            OSError: no process can be started.
        """
        async with self._lock:
            self._users += 1
            try:
                if self._process is None or self._process.returncode is not None:
                    self._process = await start_worker_process(
                        self._settings,
                        # The ports are the lasting worker's.
                        {
                            "AUTOMATCH_WORKER__HEALTH_PORT": "",
                            "AUTOMATCH_METRICS__WORKER_PORT": "",
                        },
                    )
                    log.info("on-demand worker started")
            except BaseException:
                self._users -= 1
                raise
        try:
            yield
        finally:
            self._users -= 1
            if not self._users and self._process is not None:
                assert self._process.stdin is not None
                self._process.stdin.close()
                self._process = None


async def start_worker_process(
    settings: Settings,
    variables: Mapping[str, str] | None = None,
    *,
    signs_fd: int | None = None,
) -> asyncio.subprocess.Process:
    """Start a worker for the same data folder and database, with other *variables* set.

    It stops when its stdin is closed, which also happens when this process is killed. While its
    event loop runs, it writes to the end *signs_fd* of a pipe.

    Raises:
        OSError: no process can be started.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "automatch",
        "worker",
        "--stop-with-stdin",
        *([] if signs_fd is None else ["--signs-fd", str(signs_fd)]),
        stdin=asyncio.subprocess.PIPE,
        env=command_environment(settings) | dict(variables or {}),
        # Ctrl-C in a terminal reaches only this process, which then stops the worker in order.
        start_new_session=True,
        pass_fds=[] if signs_fd is None else [signs_fd],
    )


def command_environment(settings: Settings) -> dict[str, str]:
    """Return the environment in which a command has the same data folder and database."""
    env = {"AUTOMATCH_HOME": str(settings.home)}
    if settings.database_url is not None:
        env["AUTOMATCH_DATABASE_URL"] = settings.database_url.get_secret_value()
    if settings.direct_url is not None:
        env["AUTOMATCH_DIRECT_URL"] = settings.direct_url.get_secret_value()
    return os.environ | env
