"""Connections to Postgres: a pool per login, and transactions with a user's rights."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Self
from weakref import WeakKeyDictionary

import psycopg
import structlog
from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from automatch.errors import AutomatchError
from automatch.errors.auth import TokenInvalidError
from automatch.errors.request import InputInvalidError, RequestError
from automatch.errors.store import (
    DatabaseUnavailableError,
    InstallationError,
    MachineAwayError,
    PhotoStorageError,
    StorageFullError,
)
from automatch.model.people import Claims
from automatch.postgres.addresses import is_for_writing
from automatch.settings.database import PoolSettings
from automatch.sql.statements import load
from automatch.store.circuit_breaker import CircuitBreaker
from automatch.store.session_state import commit, reset, roll_back
from automatch.telemetry.metrics import PoolFigures
from automatch.telemetry.request_id import current_request_id

_SQL = load("database")
_RAISED_BY_US = "AM001"
"""SQLSTATE of automatch.raise_error(); its hint is one of our codes."""

_VALUE_ERRORS = {"23514", "23502", "22001", "22003", "22007", "22008", "22021", "22P02", "22P05"}
"""SQLSTATEs of values that violate a constraint or do not fit their type."""

_OPEN_TIMEOUT_S = 30.0
"""A server that replays its log after a crash needs some time."""

_MAX_IDLE_S = 60.0
"""Connections above the smallest number are closed when they were not needed for so long."""

_CHECK_TIMEOUT_S = 5.0
"""How long the check of a pooled connection may take."""

_PROBE_TIMEOUT_S = 5.0
"""How long a server may take to answer a probe."""

_SKIP_CHECK_S = 0.1
"""A connection that answered within this time, and was not closed since, is not checked."""

_MACHINE_AWAY = "08006"
"""SQLSTATE of a server that does not reach another; psycopg's own errors have none."""
_READ_ONLY = "25006"
"""SQLSTATE of a write on a standby, or on a primary that was told to take none."""

Connection = AsyncConnection[tuple[Any, ...]]

log = structlog.get_logger(__name__)


def _errors_by_code() -> dict[str, type[AutomatchError]]:
    kinds: list[type[AutomatchError]] = [AutomatchError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {kind.code: kind for kind in kinds}


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise the errors of psycopg as errors of ours.

    Raises:
        AutomatchError: the class whose code automatch.raise_error() named.
        InputInvalidError: a constraint of a table, or Postgres itself, refuses a value.
        StorageFullError: the disk of the server is full.
        DatabaseUnavailableError: the server does not answer, is too busy or cancelled the query.
        MachineAwayError: the server answers, and another of its cluster does not.
    """
    try:
        yield
    except psycopg.Error as exc:
        error = _translate(exc)
        if error is None:
            raise
        raise error from exc


@asynccontextmanager
async def owner_connection(conninfo: str, **options: Any) -> AsyncIterator[Connection]:
    """Connect as the owner, with *options* of psycopg; each statement is its own transaction."""
    with translate_errors():
        async with await AsyncConnection.connect(conninfo, autocommit=True, **options) as conn:
            yield conn


def _translate(exc: psycopg.Error) -> AutomatchError | None:
    state = exc.sqlstate or ""
    if state == _RAISED_BY_US:
        # Asked each time: a module of errors may have been imported since.
        kind = _errors_by_code().get(exc.diag.message_hint or "", RequestError)
        error = kind.__new__(kind)
        AutomatchError.__init__(error, exc.diag.message_primary)
        return error
    # An error without a state was raised before sending: text with a NUL, for example.
    unsendable = not state and isinstance(exc, psycopg.DataError)
    if unsendable or state in _VALUE_ERRORS:
        rule = (exc.diag.constraint_name or "value").replace("_", " ")
        return InputInvalidError(f"A value is not allowed: {rule}.")
    if state == "53100":
        return StorageFullError()
    if state == _MACHINE_AWAY:
        return MachineAwayError()
    # Connection errors, resources, operator intervention, deadlock, serialization, timeouts.
    lost = not state and isinstance(exc, (psycopg.OperationalError, psycopg.InterfaceError))
    if (
        lost
        or state[:2] in ("08", "53", "57", "58", "40")
        or state in ("55P03", "25P03", _READ_ONLY)
    ):
        return DatabaseUnavailableError()
    return None


def describe_error(error: AutomatchError) -> str:
    """Return what is wrong, for operators: what the server said, or the error's own reason.

    The primary messages of Postgres name objects, and no value of a row.
    """
    cause = error.__cause__
    if isinstance(cause, psycopg.Error) and cause.sqlstate:
        return f"{cause.diag.message_primary} (SQLSTATE {cause.sqlstate})"
    if isinstance(error, PhotoStorageError) and error.reason:
        return error.reason
    return error.message


class Database:
    """A pool of connections of one login.

    Args:
        for_worker: raise InstallationError for what the schema or the rights of the login lack;
            a server lets these errors pass, because they are bugs of one route there.
        direct: where sessions are kept, if *conninfo* may lead to a pooler that gives each
            transaction another one.
        prepare: whether statements that are repeated are prepared, which needs kept sessions.
        is_optional: whether the server may be away when this is opened.
    """

    def __init__(
        self,
        conninfo: str,
        settings: PoolSettings,
        *,
        name: str,
        for_worker: bool = False,
        direct: str | None = None,
        prepare: bool = True,
        is_optional: bool = False,
    ) -> None:
        self.conninfo = conninfo
        self.direct = direct or conninfo
        """For connections that listen or hold a lock."""
        self._pool = AsyncConnectionPool(
            conninfo,
            min_size=settings.min_size,
            max_size=settings.max_size,
            timeout=settings.timeout_s,
            max_idle=_MAX_IDLE_S,
            kwargs={
                # Transactions are opened explicitly; a statement outside of one is one round trip.
                "autocommit": True,
                "application_name": name,
                "connect_timeout": 5,
                # A lost peer is noticed in seconds, not hours.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 2,
                "tcp_user_timeout": 15000,
            }
            | ({} if prepare and self.direct == conninfo else {"prepare_threshold": None}),
            configure=_configure,
            check=self._check,
            # The pool waits twice as long after each failed attempt to connect; giving up lets the
            # next caller start with a short wait again, once the server may be back.
            reconnect_timeout=settings.timeout_s,
            open=False,
        )
        self._for_worker = for_worker
        self._is_optional = is_optional
        self._for_writing = is_for_writing(conninfo)
        self._breaker = CircuitBreaker(psycopg.Error)
        self._answered_at: WeakKeyDictionary[AsyncConnection[Any], float] = WeakKeyDictionary()
        self._transaction_timeout_s = settings.transaction_timeout_s

    async def __aenter__(self) -> Self:
        try:
            with translate_errors():
                await self._pool.open(wait=not self._is_optional, timeout=_OPEN_TIMEOUT_S)
        except BaseException:
            await self._pool.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._pool.close()

    def measure(self) -> PoolFigures:
        """Return what the pool holds now, and what it has counted."""
        stats = self._pool.get_stats()
        return PoolFigures(
            size=stats["pool_size"],
            idle=stats["pool_available"],
            max_size=stats["pool_max"],
            waiting=stats["requests_waiting"],
            requests=stats.get("requests_num", 0),
            errors=stats.get("requests_errors", 0),
            wait_s=stats.get("requests_wait_ms", 0) / 1000,
            is_circuit_open=self._breaker.is_open,
        )

    @asynccontextmanager
    async def as_user(self, claims: Claims) -> AsyncIterator[Connection]:
        """Open a transaction with the role and rights of *claims*; commit at the end.

        This is the only way to act as a role. All settings end with the transaction, so nothing
        of one caller remains for the next. Jobs that it queues keep the id of the request.

        Raises:
            TokenInvalidError: the session of the claims has ended.
        """
        request_id = current_request_id()
        async with self.transaction() as conn:
            cursor = await conn.execute(
                _SQL["become"],
                {
                    "role": claims.role.value,
                    "claims": json.dumps(claims.as_json()),
                    "request_id": request_id.hex if request_id else "",
                },
            )
            is_live = await cursor.fetchone()
            if is_live is None or not is_live[0]:
                raise TokenInvalidError
            yield conn

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Open a transaction as the login itself, which may call only a few functions."""
        async with self._lend() as conn:
            await conn.execute(_SQL["begin"])
            yield conn
            await commit(conn)

    @asynccontextmanager
    async def pipelined_transaction(self) -> AsyncIterator[Connection]:
        """Open a transaction as the login itself whose statements are sent together.

        It is one round trip, however many there are; their results are available after the block.
        """
        # Not conn.transaction(): it waits after `begin` and before `commit`. A process that is
        # frozen at that moment would hold its locks until it goes on, and block the others.
        async with self.connection() as conn, conn.pipeline():
            await conn.execute(_SQL["begin"])
            yield conn
            # Postgres skips it when an earlier statement failed; the pool then rolls back.
            await conn.execute(_SQL["commit"])

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Give a connection as the login itself; each statement is its own transaction.

        While the server is away, one caller at a time waits for it; the others are refused at once.
        """
        async with self._lend() as conn:
            yield conn
            await reset(conn)

    @asynccontextmanager
    async def _lend(self) -> AsyncIterator[Connection]:
        cancellations = count_cancellations()
        with translate_errors():
            async with AsyncExitStack() as stack:
                with self._breaker.attempt():
                    conn = await stack.enter_async_context(self._pool.connection())
                raise_if_cancelled(since=cancellations)
                try:
                    with deadline(conn, self._transaction_timeout_s):
                        try:
                            yield conn
                        except BaseException:
                            await roll_back(conn)
                            raise
                except psycopg.errors.ReadOnlySqlTransaction:
                    # After a failover this server is no longer the one that takes writes.
                    await conn.close()
                    raise
                except psycopg.Error as exc:
                    if self._for_worker and (exc.sqlstate or "")[:2] in ("42", "XX"):
                        raise InstallationError from exc
                    raise
                self._answered_at[conn] = time.monotonic()

    async def _check(self, conn: AsyncConnection[Any]) -> None:
        fresh = time.monotonic() - self._answered_at.get(conn, 0) < _SKIP_CHECK_S
        if not fresh or _has_unread_data(conn):
            with deadline(conn, _CHECK_TIMEOUT_S):
                await AsyncConnectionPool.check_connection(conn)
        if self._for_writing and is_read_only(conn):
            # After a failover; the pool connects again, to the server that takes writes now.
            await conn.close()
            raise psycopg.errors.ReadOnlySqlTransaction("the server takes no writes any more")


def is_read_only(conn: Connection) -> bool:
    """Return whether the server takes no writes, as it said with its last answer."""
    status = conn.info.parameter_status
    return "on" in {status("in_hot_standby"), status("default_transaction_read_only")}


async def probe(conn: Connection) -> None:
    """Return when the server answers and takes writes.

    Raises:
        psycopg.Error: it does not, or nobody would notify this connection any more.
    """
    with deadline(conn, _PROBE_TIMEOUT_S):
        await conn.execute(_SQL["probe"])
    if is_read_only(conn):
        raise psycopg.errors.ReadOnlySqlTransaction("the server takes no writes any more")


@contextmanager
def deadline(conn: Connection, seconds: float) -> Iterator[None]:
    """Close the connection when the block takes longer; its statement then fails.

    A network that drops packets causes no error, and TCP keepalives reach only the next hop: behind
    a proxy or a pooler, a dead server looks idle for ever.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _shut_down, conn)
    try:
        yield
    finally:
        timer.cancel()


def _shut_down(conn: Connection) -> None:
    if not conn.closed:
        log.warning(
            "connection closed: no answer", name=conn.info.parameter_status("application_name")
        )
        # A duplicate: closing it leaves psycopg's socket open, which then reads the end of stream.
        with socket.socket(fileno=os.dup(conn.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)


def _has_unread_data(conn: AsyncConnection[Any]) -> bool:
    """Return whether the server sent something by itself, such as the end of the connection."""
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def count_cancellations() -> int:
    """Return how often the current task was cancelled."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def raise_if_cancelled(*, since: int) -> None:
    """Raise a cancellation that was lost while the task waited for a connection.

    `asyncio.wait_for`, which the pool uses, loses it in Python 3.11 when the connection arrives at
    the same moment (python/cpython#86296); a loop would then never end.

    Args:
        since: what `count_cancellations` returned before the wait. A task that was cancelled
            before that cleans up, and may use the database.
    """
    if count_cancellations() > since:
        raise asyncio.CancelledError


async def _configure(conn: AsyncConnection[Any]) -> None:
    await register_vector_async(conn)
    await conn.commit()
