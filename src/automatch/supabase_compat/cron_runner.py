"""Running cron jobs and HTTP requests on one of the servers, the leader, with a login for that.

Each server tries to become the leader once it serves. The leader holds an advisory lock on its
listening connection, so that it stops when that connection breaks, and another takes over within
seconds. Where the extensions are installed, the leader only keeps the schedule.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from automatch.background import run_together
from automatch.errors import AutomatchError
from automatch.settings.connections import SCHEDULE_POOL
from automatch.settings.server_address import LEADING_SERVER
from automatch.sql.statements import load
from automatch.store.call import call_value
from automatch.store.database import Database, deadline, probe
from automatch.store.outage_log import OutageLog
from automatch.supabase_compat.cron import CronScheduler
from automatch.supabase_compat.http_queue import HttpSender

_CRON = load("cron")

_TRY_S = 5.0
"""Between two attempts to become the leader."""
_RETRY_MAX_S = 60.0
_PROBE_S = 10.0
_PROBE_TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


class CronRunner:
    """Keeps the schedule of one database up to date, and runs it where no extension does.

    Args:
        dsn: jobs run as this login, and only those that the owner has scheduled.
        local_url: address of this server on its own machine.
        public_url: its address for others, among them a database with pg_net. The schedule calls it
            where there is one.
        net_origins: where requests may be sent to; None is anywhere.
        started: set when the server serves; before that it does not lead.
    """

    def __init__(
        self,
        dsn: str,
        *,
        local_url: str,
        public_url: str | None,
        net_origins: Iterable[str] | None = None,
        started: asyncio.Event | None = None,
    ) -> None:
        self._dsn = dsn
        self._net_origins = net_origins
        self._local_url = local_url
        self._public_url = public_url
        self._started = started

    async def run(self) -> None:
        """Be the leader whenever no other server is, until cancelled; survive database outages."""
        if self._started is not None:
            await self._started.wait()
        delay = _TRY_S
        outage = OutageLog("schedule interrupted")
        while True:
            began = time.monotonic()
            try:
                await self._lead_when_possible()
            except* (psycopg.Error, AutomatchError) as group:
                outage.failed(error_name(group))
            delay = _TRY_S if time.monotonic() - began > _RETRY_MAX_S else delay
            await asyncio.sleep(delay)
            delay = min(2 * delay, _RETRY_MAX_S)

    async def _lead_when_possible(self) -> None:
        async with await AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            connect_timeout=5,
            application_name="automatch-schedule",
        ) as conn:
            while not (await _fetch_row(conn, "lead") or (False,))[0]:
                await asyncio.sleep(_TRY_S)
            # An extension may take the place of its stand-in at any time, or give it back.
            while True:
                await self._lead(conn)

    async def _keep_schedule(self, conn: AsyncConnection[Any], *, own_net: bool) -> None:
        # A database with pg_net may be on another machine.
        url = self._public_url or (LEADING_SERVER if own_net else None)
        if url is None:
            return
        outcome = await call_value(
            conn,
            "automatch.ensure_match_schedule",
            url=f"{url.rstrip('/')}/functions/v1/match-generator",
        )
        log.info("schedule kept", outcome=outcome, url=url)

    async def _lead(self, conn: AsyncConnection[Any]) -> None:
        stand_ins = await _fetch_row(conn, "stand_ins")
        assert stand_ins is not None
        cron, net, *_ = stand_ins
        await self._keep_schedule(conn, own_net=net)
        async with Database(self._dsn, SCHEDULE_POOL, name="automatch-schedule") as db:
            wake: dict[str, Callable[[], None]] = {}
            parts: dict[str, Coroutine[None, None, None]] = {}
            if cron:
                await conn.execute(_CRON["forget_lost_runs"])
                await conn.execute(_CRON["listen_cron"])
            if net:
                await conn.execute(_CRON["listen_net"])
                sender = HttpSender(db, self._local_url, self._net_origins)
                wake["automatch_net"] = sender.wake
                parts["http_queue"] = sender.run()
            if cron:
                scheduler = CronScheduler(db, self._dsn)
                wake["automatch_cron"] = scheduler.wake
                parts["cron_jobs"] = scheduler.run()
            log.info("schedule runs", jobs=cron, requests=net)
            await run_together(until=_listen(conn, wake, stand_ins), **parts)


async def _listen(
    conn: AsyncConnection[Any], wake: Mapping[str, Callable[[], None]], stand_ins: tuple[Any, ...]
) -> None:
    """Wake whoever a notification is for, until other stand-ins than *stand_ins* are in place."""
    while True:
        async for notification in conn.notifies(timeout=_PROBE_S, stop_after=1):
            if notification.channel in wake:
                wake[notification.channel]()
        await probe(conn)
        with deadline(conn, _PROBE_TIMEOUT_S):
            if await _fetch_row(conn, "stand_ins") != stand_ins:
                return


async def _fetch_row(conn: AsyncConnection[Any], query: str) -> tuple[Any, ...] | None:
    return await (await conn.execute(_CRON[query])).fetchone()


def error_name(error: BaseException) -> str:
    """Return the type name of an error, or of the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__
