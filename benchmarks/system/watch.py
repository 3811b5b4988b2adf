"""What the parts hold at a moment: memory, files, connections, and jobs that wait."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psutil
import psycopg

from automatch.ops.bench.usage import Meter
from automatch.sql.statements import load
from benchmarks.feed_load import owner_address

_MIB = 1024**2
_SQL = load("bench")


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment."""

    at_s: float
    """On the monotonic clock."""
    memory_mib: dict[str, float]
    """Of each part, without what its processes share, such as the buffers of Postgres."""
    files: dict[str, int]
    connections: int
    """Of the database, of all clients."""
    waiting: int
    """Jobs that are not finished."""


class Watch:
    """Takes samples of one installation."""

    def __init__(self, meter: Meter, conn: psycopg.AsyncConnection) -> None:
        self._meter = meter
        self.conn = conn

    async def sample(self) -> Sample:
        (connections,) = await self._read(
            "select count(*) from pg_stat_activity where backend_type = 'client backend'"
        )
        (waiting,) = await self._read(_SQL["count_open_jobs"])
        # Reading the maps of large processes takes a while.
        memory, files = await asyncio.to_thread(self._read_processes)
        return Sample(time.monotonic(), memory, files, connections, waiting)

    async def wal_position(self) -> int:
        """Return how many bytes of log were ever written."""
        (position,) = await self._read("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return int(position)

    async def are_all_compared(self) -> bool:
        """Whether nobody new is still to be compared with the other accounts of their school."""
        (left,) = await self._read(_SQL["count_uncompared_photos"])
        return not left

    async def relation_bytes(self) -> dict[str, int]:
        """Return what tables of faces take with their indexes: the copy for searches, others."""
        index, tables = await self._read(_SQL["measure_face_tables"])
        return {"index": index, "tables": tables}

    async def _read(self, query: LiteralString) -> tuple[int, ...]:
        row = await (await self.conn.execute(query)).fetchone()
        assert row is not None
        return tuple(row)

    def _read_processes(self) -> tuple[dict[str, float], dict[str, int]]:
        memory, files = {}, {}
        parts = self._meter.processes() | {"generator": [psutil.Process()]}
        for part, processes in parts.items():
            memory[part] = round(
                _total(processes, lambda one: one.memory_full_info().uss) / _MIB, 1
            )
            files[part] = int(_total(processes, lambda one: one.num_fds()))
        return memory, files


def _total(processes: list[psutil.Process], read_one: Callable[[psutil.Process], int]) -> int:
    found = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            found += read_one(process)
    return found


@asynccontextmanager
async def watching(home: Path, meter: Meter) -> AsyncIterator[Watch]:
    """Watch an installation with one connection of the owner."""
    owner = owner_address(home)
    async with await psycopg.AsyncConnection.connect(owner, autocommit=True) as conn:
        yield Watch(meter, conn)


def photo_bytes(home: Path) -> int:
    """Return what the photos of an installation take on its disk."""
    return sum(path.stat().st_size for path in (home / "photos").rglob("*") if path.is_file())
