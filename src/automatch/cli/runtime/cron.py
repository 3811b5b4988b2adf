"""The schedule beside a server: one of the servers of a database runs its cron jobs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.secrets import Secrets
from automatch.supabase_compat.cron_runner import Runner, name_of

log = structlog.get_logger(__name__)


@asynccontextmanager
async def running_schedule(
    settings: Settings, secrets: Secrets, listening: socket.socket
) -> AsyncIterator[None]:
    """Look after the schedule, and run it if no other server does, while the block lasts."""
    runner = Runner(
        database_address(settings, secrets, "owner"),
        local_url=settings.local_url(listening.getsockname()[1]),
        public_url=settings.public_url,
    )
    running = asyncio.create_task(runner.run())
    running.add_done_callback(_report)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _report(running: asyncio.Task[None]) -> None:
    if not running.cancelled() and (error := running.exception()) is not None:
        log.error("schedule broke; it runs again after a restart", error=name_of(error))
