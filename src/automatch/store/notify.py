"""Notifications from Postgres, on dedicated connections.

A NOTIFY carries at most the ids of whom it is about and may be lost: it only makes a reader poll
earlier. `listen` calls its readers at every (re)connection too, because notifications may have been
missed before.
`JobNotifier` is for workers without jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import psycopg
import structlog
from psycopg.rows import class_row

from automatch.sql.statements import load
from automatch.store.call import call_row, call_value
from automatch.store.database import (
    Connection,
    count_cancellations,
    deadline,
    is_read_only,
    probe,
    raise_if_cancelled,
)
from automatch.store.outage_log import OutageLog

_SQL = load("database")
_PROBE_S = 10.0
"""A dead connection is noticed after this and the timeout of the probe."""
_PROBE_TIMEOUT_S = 5.0
_RECONNECT_S = 0.2
_RECONNECT_MAX_S = 5.0

_T = TypeVar("_T")

Channel = Literal["jobs", "feed", "sessions", "mails"]

log = structlog.get_logger(__name__)


async def listen(
    conninfo: str, readers: Mapping[Channel, Callable[[str | None], None]], *, name: str
) -> None:
    """Call a channel's reader with what each notification carries, until cancelled; reconnect.

    At each connection all are called with None: notifications may have been missed.
    """
    by_channel = {f"automatch_{channel}": reader for channel, reader in readers.items()}
    statements = [f"listen_{channel}" for channel in readers]
    delay = _RECONNECT_S
    outage = OutageLog("listener reconnects", end="listener is connected again")
    while True:
        try:
            async with await _connect(conninfo, statements, name) as conn:
                outage.ended()
                for reader in by_channel.values():
                    reader(None)
                delay = _RECONNECT_S
                while True:
                    async for notify in conn.notifies(timeout=_PROBE_S, stop_after=1):
                        by_channel[notify.channel](notify.payload)
                    await probe(conn)
        except psycopg.Error as exc:
            outage.failed(type(exc).__name__, channels=[*by_channel])
            await asyncio.sleep(delay)
            delay = min(delay * 2, _RECONNECT_MAX_S)


@dataclass(frozen=True, slots=True)
class Look:
    """What a worker without work has seen."""

    due_s: float | None
    """Seconds until the next job can be claimed; None when none is scheduled."""
    has_leader: bool
    """Whether a worker leads the maintenance."""
    schema_version: int
    oldest_program: int
    """The oldest schema whose programs work on this one."""
    preparing_model: str | None
    """The model with which stored photos are embedded, if one is prepared."""
    is_registered: bool = True
    """Whether this worker is the one that is notified."""


class JobNotifier:
    """Notifies one idle worker of new jobs.

    `await_turn` tells the database that somebody is idle here and has to be notified; while all
    workers are busy nothing is. Of several idle workers one is registered at a time, and the others
    wait in line inside `await_turn`, for some time. After the wait it looks whether a job is due,
    and only then the worker waits: what was queued before is seen, and what is queued later
    notifies. `unregister_idle` comes before the next fetch. None of these raises when the database
    is away: then nothing is notified, and `wait` is a pause.
    """

    def __init__(self, conninfo: str, *, name: str) -> None:
        self._conninfo = conninfo
        self._name = name
        self._conn: Connection | None = None
        self._outage = OutageLog(
            "job notifier cannot connect", end="job notifier is connected again"
        )

    @property
    def is_connected(self) -> bool:
        return self._conn is not None

    async def connect(self) -> bool:
        """Connect unless it is so already, and count as a worker; False on errors."""
        if self._conn is None:
            try:
                self._conn = await _connect(
                    self._conninfo, ["listen_jobs", "count_as_worker"], self._name
                )
            except psycopg.Error as exc:
                self._outage.failed(type(exc).__name__)
            else:
                self._outage.ended()
        return self._conn is not None

    async def await_turn(self, wait_s: float, interruption: asyncio.Event) -> Look | None:
        """Ask to be notified, wait while another idle worker is registered, and look around.

        Returns:
            What was seen then, or after *wait_s*; None after an *interruption*, or on errors.
        """
        if not await self.connect():
            return None
        registering = asyncio.create_task(
            self._look("await_turn", wait_s, wait=timedelta(seconds=wait_s))
        )
        interrupted = asyncio.create_task(interruption.wait())
        try:
            await asyncio.wait({registering, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            interrupted.cancel()
            if not registering.done():
                # Where the wait was interrupted, the lock may have come at the same moment.
                registering.cancel()
                await asyncio.gather(registering, return_exceptions=True)
                await self.unregister_idle()
        return None if registering.cancelled() else registering.result()

    async def look(self) -> Look | None:
        """Look around as the worker that is registered; None on errors, when it no longer is."""
        return await self._look("look_around")

    async def unregister_idle(self) -> None:
        """Undo `await_turn`. This also detects a dead connection."""
        await self._ask(lambda conn: call_value(conn, "unregister_idle"))

    async def wait(self, seconds: float, interruption: asyncio.Event) -> bool:
        """Wait for a notification, for *interruption*, or for *seconds*; False after those."""
        waits = {
            asyncio.create_task(self._wait_for_notification(seconds)),
            asyncio.create_task(interruption.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            ended = await asyncio.gather(*waits, return_exceptions=True)
        return True in ended or interruption.is_set()

    async def close(self) -> None:
        """Close the connection, which also undoes `await_turn`."""
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()

    async def _wait_for_notification(self, seconds: float) -> bool:
        """Wait; return whether a notification came or none can come any more."""
        if self._conn is None:
            await asyncio.sleep(seconds)
            return True
        try:
            async for _ in self._conn.notifies(timeout=seconds, stop_after=1):
                return True
        except psycopg.Error:
            await self.close()
            return True
        return False

    async def _look(
        self,
        function: Literal["await_turn", "look_around"],
        takes_s: float = 0,
        **arguments: timedelta,
    ) -> Look | None:
        return await self._ask(
            lambda conn: call_row(conn, function, class_row(Look), **arguments), takes_s
        )

    async def _ask(
        self, ask: Callable[[Connection], Awaitable[_T]], takes_s: float = 0
    ) -> _T | None:
        if self._conn is None:
            return None
        try:
            with deadline(self._conn, takes_s + _PROBE_TIMEOUT_S):
                answer = await ask(self._conn)
            problem = "read-only" if is_read_only(self._conn) else None
        except psycopg.Error as exc:
            problem = type(exc).__name__
        if problem:
            log.warning("job notifier reconnects", error=problem)
            await self.close()
            return None
        return answer


async def _connect(conninfo: str, statements: Iterable[str], name: str) -> Connection:
    cancellations = count_cancellations()
    conn: psycopg.AsyncConnection[tuple[Any, ...]] = await psycopg.AsyncConnection.connect(
        conninfo, autocommit=True, application_name=name, connect_timeout=5
    )
    try:
        raise_if_cancelled(since=cancellations)
        with deadline(conn, _PROBE_TIMEOUT_S):
            for statement in statements:
                await conn.execute(_SQL[statement])
    except BaseException:
        await conn.close()
        raise
    return conn
