"""Wake-ups from Postgres, on a connection of their own.

A NOTIFY here carries no data and may be lost: it only makes a reader look earlier than it would
anyway. So the listener promises little, and that well: it calls *wake* at every notification and at
every (re)connection, because something may have happened while it was away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import psycopg
import structlog

from automatch.store.database import heed_cancellation
from automatch.store.queries import load

_SQL = load("database")
_PROBE_S = 10.0
"""A link that died in silence is noticed after this and the probe's own time-out."""
_PROBE_TIMEOUT_S = 5.0
_RECONNECT_S = 0.2
_RECONNECT_MAX_S = 5.0

log = structlog.get_logger(__name__)


async def listen(
    conninfo: str, channel: Literal["jobs", "feed"], wake: Callable[[], None], *, name: str
) -> None:
    """Call *wake* whenever *channel* is notified, until cancelled; reconnects by itself."""
    delay = _RECONNECT_S
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                conninfo, autocommit=True, application_name=name, connect_timeout=5
            ) as conn:
                heed_cancellation()
                await conn.execute(_SQL[f"listen_{channel}"])
                wake()
                delay = _RECONNECT_S
                while True:
                    async for _ in conn.notifies(timeout=_PROBE_S, stop_after=1):
                        wake()
                    async with asyncio.timeout(_PROBE_TIMEOUT_S):
                        await conn.execute(_SQL["probe"])
        except (psycopg.Error, TimeoutError) as exc:
            log.warning("listener reconnects", channel=channel, error=type(exc).__name__)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _RECONNECT_MAX_S)
