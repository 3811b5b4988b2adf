"""Pools of connections that outlive the server or worker of a test, for those of the next tests.

What a session of Postgres does for the first time costs it ten times as much as later on: it reads
the catalogs and compiles functions. A server is new in each test; its connections need not be.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, LiteralString, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

from automatch.settings.database import PoolSettings
from automatch.store.database import Database

_CLOSE_S = 30
_TROUBLE = {"connections_errors", "connections_lost", "requests_errors", "returns_bad"}
_kept: dict[str, KeptDatabase] = {}
_forgotten: list[KeptDatabase] = []


class KeptDatabase(Database):
    """A pool that stays open when it is left, and is what the same parameters give the next time.

    Unless a connection was lost: what a test has broken is nothing for the next one.
    """

    _key: str
    _is_open = False
    _is_used = False

    def __new__(cls, conninfo: str, settings: PoolSettings, **more: Any) -> Self:
        """Return one that is kept and not used now, else a new one."""
        key = repr((conninfo, settings, sorted(more.items())))
        kept = _kept.get(key)
        if isinstance(kept, cls) and not kept._is_used:
            return kept
        made = super().__new__(cls)
        made._key = key
        return made

    def __init__(self, conninfo: str, settings: PoolSettings, **more: Any) -> None:
        if not self._is_open:
            super().__init__(conninfo, settings, **more)
            self._begin_anew = partial(super().__init__, conninfo, settings, **more)

    async def __aenter__(self) -> Self:
        if self._is_open and not await self._tell_all("reset application_name"):
            await self.close()
            self._begin_anew()
        if not self._is_open:
            await super().__aenter__()
            self._is_open = True
        self._is_used = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_used = False
        if _kept.get(self._key, self) is self and await self._is_sound():
            _kept[self._key] = self
        else:
            await self.close()

    async def close(self) -> None:
        """Close it after all."""
        self._is_open = False
        if _kept.get(self._key) is self:
            del _kept[self._key]
        # Where its server has gone, nobody may wait for an answer at the end of all tests.
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await super().__aexit__(None, None, None)

    def pids(self) -> list[int]:
        """Return the process ids of its sessions."""
        return [conn.info.backend_pid for conn in self._pool._pool]

    async def _is_sound(self) -> bool:
        """Return whether all connections are idle and well; what they wrote is counted then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                # They are given back by a task.
                while self._figure("pool_available") != self._figure("pool_size"):
                    await asyncio.sleep(0)
                return (
                    not self._breaker.is_open
                    and not self._pool.get_stats().keys() & _TROUBLE
                    # No server is connected any more, as some commands ask for.
                    and await self._tell_all("set application_name to 'kept by the tests'")
                    # Else the emptying of the database would not see what they have written.
                    and await self._tell_all("select pg_stat_force_next_flush()")
                )
        return False

    async def _tell_all(self, statement: LiteralString) -> bool:
        """Return whether all connections have executed it."""
        try:
            for conn in list(self._pool._pool):
                await conn.execute(statement)
        except psycopg.Error:
            return False
        return True

    def _figure(self, name: str) -> int:
        return self._pool.get_stats()[name]


def list_sessions(database: str) -> list[int]:
    """Return the process ids of the sessions that are kept in a database."""
    return [pid for kept in _list_of(database) for pid in kept.pids()]


def forget(database: str) -> None:
    """Keep nothing of a database, which goes."""
    for kept in _list_of(database):
        del _kept[kept._key]
        _forgotten.append(kept)


async def close_all() -> None:
    """Close everything that is kept and not used now."""
    for kept in [*_kept.values(), *_forgotten]:
        if not kept._is_used:
            await kept.close()
    _forgotten.clear()


def _list_of(database: str) -> list[KeptDatabase]:
    return [
        kept for kept in _kept.values() if conninfo_to_dict(kept.conninfo).get("dbname") == database
    ]
