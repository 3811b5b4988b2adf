"""Reading from a replica without seeing less than the primary has.

A read goes to the replica once that has replayed all that was committed before the read began. So
nobody misses what they or anybody else wrote, on this server or another, and a block, a freeze, an
erasure or the end of a session is never undone. The primary is asked for its position once for all
reads that wait; a replica that does not reach it in time is left alone until it keeps up again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol

import psycopg

from automatch.background import BackgroundTasks
from automatch.errors.store import DatabaseUnavailableError, ServerUnfitError, StoreError
from automatch.model.people import Claims
from automatch.settings.database import PoolSettings
from automatch.sql.statements import load
from automatch.store.database import Connection, Database
from automatch.store.outage_log import OutageLog

_SQL = load("replica")
_CHECK_S = 1.0
"""Between two looks at a replica that nobody reads from."""
_POLL_S = 0.002


class Reads(Protocol):
    """Where people's reads go: a database, or a replica with the primary behind it."""

    def as_user(self, claims: Claims) -> AbstractAsyncContextManager[Connection]:
        """Open a transaction with the rights of *claims*."""


class Replica:
    """Sends reads to a replica while it keeps up, and else to the primary.

    Args:
        primary: what answers otherwise.
        conninfo: one standby of it, with the same login.
        settings: of the pool; `replica_wait_s` is how long a read waits for the replica.
    """

    def __init__(self, primary: Database, conninfo: str, settings: PoolSettings) -> None:
        self._primary = primary
        self._db = Database(conninfo, settings, name="automatch-api-replica", is_optional=True)
        self._wait_s = settings.replica_wait_s
        self._waiting: list[asyncio.Future[bool]] = []
        self._asked = asyncio.Event()
        self._caught_up_at = time.monotonic()
        self._outage = OutageLog("reads go to the primary", end="reads go to the replica again")
        self.is_used = False
        """Whether it kept up a moment ago."""
        self.reads = {"replica": 0, "primary": 0}
        """How many reads went where."""

    @property
    def lag_s(self) -> float:
        """For how long it has not had all that the primary has."""
        return 0.0 if self.is_used else time.monotonic() - self._caught_up_at

    @asynccontextmanager
    async def as_user(self, claims: Claims) -> AsyncIterator[Connection]:
        """Open a transaction for reading with the rights of *claims*.

        Raises:
            TokenInvalidError: the session of the claims has ended.
        """
        async with AsyncExitStack() as stack:
            conn = None
            if self.is_used and await self._has_caught_up():
                conn = await self._open(stack, claims)
            self.reads["primary" if conn is None else "replica"] += 1
            if conn is None:
                conn = await stack.enter_async_context(self._primary.as_user(claims))
            yield conn

    @asynccontextmanager
    async def running(self, background: BackgroundTasks) -> AsyncIterator[None]:
        """Follow the replica during the block, whatever ends the task that does."""
        async with self._db, background.running("replica", self.run):
            yield

    async def run(self) -> None:
        """Ask for positions until cancelled; survive outages of both."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_S):
                    await self._asked.wait()
            self._asked.clear()
            # Whoever asks from now on needs a later position.
            waiting, self._waiting = self._waiting, []
            try:
                await self._catch_up()
            except (TimeoutError, StoreError, psycopg.Error) as exc:
                self.is_used = False
                self._outage.failed(type(exc).__name__)
            except BaseException:
                self.is_used = False
                raise
            else:
                self._caught_up_at, self.is_used = time.monotonic(), True
                self._outage.ended()
            finally:
                for each in waiting:
                    if not each.done():
                        each.set_result(self.is_used)

    async def _open(self, stack: AsyncExitStack, claims: Claims) -> Connection | None:
        try:
            # A replica that has just died would be waited for.
            async with asyncio.timeout(self._wait_s), AsyncExitStack() as opening:
                conn = await opening.enter_async_context(self._db.as_user(claims))
                stack.push_async_exit(opening.pop_all())
                return conn
        except (TimeoutError, DatabaseUnavailableError):
            self.is_used = False
            return None

    async def _has_caught_up(self) -> bool:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._asked.set()
        # Not for the end of a statement on a server that does not answer.
        await asyncio.wait({answer}, timeout=2 * self._wait_s)
        return answer.done() and answer.result()

    async def _catch_up(self) -> None:
        async with asyncio.timeout(self._wait_s if self.is_used else _CHECK_S):
            async with self._primary.connection() as conn:
                row = await (await conn.execute(_SQL["position"])).fetchone()
            assert row is not None
            system, position = row
            async with self._db.connection() as conn:
                while not await _has_replayed(conn, system, position):
                    await asyncio.sleep(_POLL_S)


async def _has_replayed(conn: Connection, system: int, position: str) -> bool:
    cursor = await conn.execute(_SQL["has_replayed"], {"system": system, "position": position})
    row = await cursor.fetchone()
    assert row is not None
    if row[0] is None:
        raise ServerUnfitError(
            "AUTOMATCH_REPLICA_URL leads to a server that does not follow the primary; set it to "
            "the address of a streaming replica of it."
        )
    return bool(row[0])


async def look_at_replica(primary: Connection, address: str, *, wait_s: int) -> float | None:
    """Return how many seconds a replica takes to have what the primary has now.

    None when it does not get there within *wait_s*, does not answer, or follows another primary.
    """
    try:
        return await measure_lag(primary, address, wait_s=wait_s)
    except (TimeoutError, StoreError, psycopg.Error):
        return None


async def measure_lag(primary: Connection, address: str, *, wait_s: int) -> float:
    """Return how many seconds a replica takes to have what the primary has now.

    Raises:
        ServerUnfitError: it does not follow this primary.
        TimeoutError: it does not get there within *wait_s*.
        psycopg.Error: it does not answer.
    """
    async with (
        asyncio.timeout(wait_s),
        await psycopg.AsyncConnection.connect(
            address,
            autocommit=True,
            connect_timeout=wait_s,
            application_name=primary.info.parameter_status("application_name"),
        ) as replica,
    ):
        row = await (await primary.execute(_SQL["position"])).fetchone()
        assert row is not None
        began = time.monotonic()
        while not await _has_replayed(replica, *row):
            await asyncio.sleep(_POLL_S)
        return time.monotonic() - began
