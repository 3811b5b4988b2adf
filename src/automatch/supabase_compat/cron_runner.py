"""Who stands in for pg_cron and pg_net: one of the servers, the leader, with the owner's login.

Each server tries to lead. The leader holds an advisory lock on the connection where it listens, so
that it stops leading when that breaks, and another takes over within seconds. Where the
extensions are installed there is nothing to lead; a server then only looks after the schedule.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from automatch.errors import AutomatchError
from automatch.settings.database import PoolSettings
from automatch.sql.statements import load
from automatch.store.call import call_value
from automatch.store.database import Database, deadline
from automatch.supabase_compat.cron import Cron
from automatch.supabase_compat.http_queue import Net

_CRON = load("cron")
_NET = load("net")
_DATABASE = load("database")

_TRY_S = 5.0
"""Between two tries to lead."""
_RETRY_MAX_S = 60.0
_PROBE_S = 10.0
_ANSWER_S = 5.0
_CLEAN_UP_S = 3600.0
_RUNS_DAYS = 7
_RESPONSES_HOURS = 6
"""As pg_net keeps them."""
_DESK = PoolSettings(min_size=0, max_size=4)

log = structlog.get_logger(__name__)


class Runner:
    """Looks after the schedule of one database, and runs it where no extension does.

    Args:
        owner_dsn: jobs run as this login, and only those that it has scheduled.
        local_url: where this server answers on its own machine.
        public_url: where it answers others, among them a database with pg_net.
    """

    def __init__(self, owner_dsn: str, *, local_url: str, public_url: str | None) -> None:
        self._dsn = owner_dsn
        self._local_url = local_url
        self._public_url = public_url
        self._looked_after = False

    async def run(self) -> None:
        """Lead whenever nobody else does, until cancelled. The database may come and go."""
        delay = _TRY_S
        while True:
            began = time.monotonic()
            try:
                await self._lead_when_possible()
            except* (psycopg.Error, AutomatchError) as group:
                log.warning("schedule interrupted", error=name_of(group))
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
            cron, net = await _ask(conn, "stand_ins") or (False, False)
            await self._look_after(conn, own_net=net)
            if not (cron or net):
                # An extension does the work; should it be removed, the next start notices.
                await asyncio.Event().wait()
            while not (await _ask(conn, "lead") or (False,))[0]:
                await asyncio.sleep(_TRY_S)
            await self._lead(conn, cron=cron, net=net)

    async def _look_after(self, conn: AsyncConnection[Any], *, own_net: bool) -> None:
        url = self._local_url if own_net else self._public_url
        if self._looked_after or url is None:
            return
        outcome = await call_value(
            conn,
            "automatch.ensure_match_schedule",
            url=f"{url.rstrip('/')}/functions/v1/match-generator",
        )
        self._looked_after = True
        log.info("schedule looked after", outcome=outcome, url=url)

    async def _lead(self, conn: AsyncConnection[Any], *, cron: bool, net: bool) -> None:
        async with (
            Database(self._dsn, _DESK, name="automatch-schedule") as db,
            asyncio.TaskGroup() as group,
        ):
            wakes: dict[str, Callable[[], None]] = {}
            if cron:
                await conn.execute(_CRON["forget_lost_runs"])
                await conn.execute(_CRON["listen_cron"])
                clock = Cron(db, self._dsn)
                wakes["automatch_cron"] = clock.wake
                group.create_task(clock.run())
            if net:
                await conn.execute(_CRON["listen_net"])
                sender = Net(db)
                wakes["automatch_net"] = sender.wake
                group.create_task(sender.run())
            group.create_task(_clean_up(db, cron=cron, net=net))
            log.info("schedule runs", jobs=cron, requests=net)
            while True:
                async for news in conn.notifies(timeout=_PROBE_S, stop_after=1):
                    wakes[news.channel]()
                with deadline(conn, _ANSWER_S):
                    await conn.execute(_DATABASE["probe"])


async def _clean_up(db: Database, *, cron: bool, net: bool) -> None:
    while True:
        async with db.connection() as conn:
            if cron:
                await conn.execute(_CRON["clean_up_runs"], {"days": _RUNS_DAYS})
            if net:
                await conn.execute(_NET["clean_up_responses"], {"hours": _RESPONSES_HOURS})
        await asyncio.sleep(_CLEAN_UP_S)


async def _ask(conn: AsyncConnection[Any], query: str) -> tuple[Any, ...] | None:
    return await (await conn.execute(_CRON[query])).fetchone()


def name_of(error: BaseException) -> str:
    """Return the kind of an error, or of the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__
