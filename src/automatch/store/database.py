"""Connections to Postgres: a pool per login, and the one way to act as somebody."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self
from weakref import WeakKeyDictionary

import psycopg
import structlog
from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from automatch.errors import AutomatchError
from automatch.errors.request import InputInvalidError, RequestError
from automatch.errors.store import DatabaseUnavailableError, StorageFullError
from automatch.model.people import Claims
from automatch.settings.database import PoolSettings
from automatch.sql.statements import load

_SQL = load("database")
_REFUSED = "AM001"
"""SQLSTATE of automatch.raise_error(); its hint is one of our codes."""

_BAD_VALUES = {"23514", "23502", "22001", "22003", "22007", "22008", "22021", "22P02", "22P05"}
"""SQLSTATE of constraints, lengths, ranges and texts that are not what their type holds."""

_OPEN_S = 30.0
"""A server that replays its log after a crash takes a while."""

_CHECK_S = 5.0
"""Longest that a connection out of the pool may take to show that it lives."""

_FRESH_S = 0.1
"""One that answered a moment ago, and has sent no farewell since, need not show it again."""

Connection = AsyncConnection[tuple[Any, ...]]

log = structlog.get_logger(__name__)


def _refusals() -> dict[str, type[AutomatchError]]:
    kinds: list[type[AutomatchError]] = [AutomatchError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {kind.code: kind for kind in kinds}


_REFUSALS = _refusals()


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise what psycopg raises as errors of ours.

    Raises:
        AutomatchError: the kind whose code automatch.raise_error() named.
        InputInvalidError: a value that a constraint of a table, or Postgres itself, refuses.
        StorageFullError: the disk of the server is full.
        DatabaseUnavailableError: the server is away, too busy or interrupted us.
    """
    try:
        yield
    except psycopg.Error as exc:
        error = _translate(exc)
        if error is None:
            raise
        raise error from exc
    except PoolTimeout as exc:
        raise DatabaseUnavailableError from exc


def _translate(exc: psycopg.Error) -> AutomatchError | None:
    state = exc.sqlstate or ""
    if state == _REFUSED:
        kind = _REFUSALS.get(exc.diag.message_hint or "", RequestError)
        refusal = kind.__new__(kind)
        AutomatchError.__init__(refusal, exc.diag.message_primary)
        return refusal
    # Without a state it never left this process: text with a NUL, for one.
    unsendable = not state and isinstance(exc, psycopg.DataError)
    if unsendable or state in _BAD_VALUES:
        truth = (exc.diag.constraint_name or "value").replace("_", " ")
        return InputInvalidError(f"A value is not allowed: {truth}.")
    if state == "53100":
        return StorageFullError()
    # Connection trouble, resources, operator action, deadlock, serialization, time-outs.
    lost = not state and isinstance(exc, (psycopg.OperationalError, psycopg.InterfaceError))
    if lost or state[:2] in ("08", "53", "57", "58", "40") or state in ("55P03", "25P03"):
        return DatabaseUnavailableError()
    return None


class Database:
    """A pool of connections of one login."""

    def __init__(self, conninfo: str, settings: PoolSettings, *, name: str) -> None:
        self.conninfo = conninfo
        self._pool = AsyncConnectionPool(
            conninfo,
            min_size=settings.min_size,
            max_size=settings.max_size,
            timeout=settings.timeout_s,
            kwargs={
                # Transactions are opened where they are meant; a statement outside of one is
                # one round trip.
                "autocommit": True,
                "application_name": name,
                "connect_timeout": 5,
                # A peer that vanished without a word is noticed in seconds, not hours.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 2,
                "tcp_user_timeout": 15000,
            },
            configure=_prepare,
            check=self._check,
            open=False,
        )
        self._answered_at: WeakKeyDictionary[AsyncConnection[Any], float] = WeakKeyDictionary()
        self._answer_s = settings.transaction_timeout_s

    async def __aenter__(self) -> Self:
        try:
            with translate_errors():
                await self._pool.open(wait=True, timeout=_OPEN_S)
        except BaseException:
            await self._pool.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def as_user(self, claims: Claims) -> AsyncIterator[Connection]:
        """Open a transaction that sees what *claims* may see; commit at the end.

        The only way to a role. Both settings end with the transaction, so nothing of one
        caller is left for the next.
        """
        async with self._connection() as conn, conn.transaction():
            await conn.execute(
                _SQL["become"],
                {"role": claims.role.value, "claims": json.dumps(claims.as_json())},
            )
            yield conn

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Open a transaction as the login itself, which may call a few functions and no more."""
        async with self._connection() as conn, conn.transaction():
            yield conn

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Give a connection of the login itself; each statement is a transaction of its own."""
        async with self._connection() as conn:
            yield conn

    @asynccontextmanager
    async def pipelined_transaction(self) -> AsyncIterator[Connection]:
        """Open a transaction as the login itself whose statements are sent together.

        One round trip, whatever their number. What they return is there when the block is left.
        """
        # Not conn.transaction(): it waits after `begin` and before `commit`. A process that was
        # frozen in that moment would hold its locks until it wakes, and stop the others.
        async with self._connection() as conn, conn.pipeline():
            await conn.execute(_SQL["begin"])
            yield conn
            # Left out by Postgres when a statement before failed; the pool then rolls back.
            await conn.execute(_SQL["commit"])

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with translate_errors():
            async with self._pool.connection() as conn:
                raise_if_cancelled()
                with deadline(conn, self._answer_s):
                    yield conn
                self._answered_at[conn] = time.monotonic()

    async def _check(self, conn: AsyncConnection[Any]) -> None:
        fresh = time.monotonic() - self._answered_at.get(conn, 0) < _FRESH_S
        if not fresh or _has_news(conn):
            with deadline(conn, _CHECK_S):
                await AsyncConnectionPool.check_connection(conn)


@contextmanager
def deadline(conn: Connection, seconds: float) -> Iterator[None]:
    """Hang up when the block takes longer: its statement then fails like on any lost connection.

    A network that swallows packets leaves no error behind, and TCP keepalives see only the next
    hop: behind a proxy or a pooler a dead server looks idle for ever.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _hang_up, conn)
    try:
        yield
    finally:
        timer.cancel()


def _hang_up(conn: Connection) -> None:
    if not conn.closed:
        log.warning(
            "connection given up: no answer", name=conn.info.parameter_status("application_name")
        )
        # A copy: closing it leaves psycopg's own open, which then reads the end of the stream.
        with socket.socket(fileno=os.dup(conn.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


def _has_news(conn: AsyncConnection[Any]) -> bool:
    """Tell whether something unasked has come: most of all, the end of the connection."""
    watch = select.poll()
    watch.register(conn.fileno(), select.POLLIN)
    return bool(watch.poll(0))


def raise_if_cancelled() -> None:
    """Raise the cancellation that waiting for a connection may have swallowed.

    `asyncio.wait_for`, with which the pool waits, drops it in Python 3.11 when the connection
    comes at the same moment (python/cpython#86296); a loop would then go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _prepare(conn: AsyncConnection[Any]) -> None:
    await register_vector_async(conn)
    await conn.commit()
