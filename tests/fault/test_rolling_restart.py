"""Two servers and two workers, restarted one after the other while people upload and watch."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx2
import psycopg
import pytest

from automatch.settings import Settings
from tests.fault.conftest import Figures
from tests.support.command import Running, running_server_command
from tests.support.feed_clients import Feed, accepted
from tests.support.invariants import check_invariants, count_open, keep_journal
from tests.support.photos import portrait
from tests.support.postgres import Database, TestCluster
from tests.support.system import System
from tests.support.waiting import until
from tests.support.worker_processes import WorkerProcess, WorkerProcesses, worker_processes

pytestmark = pytest.mark.anyio

_UPLOADS = 2
"""Begun with each restart."""


@dataclass
class Servers:
    """The servers that run, of which clients ask one after the other, as through a proxy."""

    home: Path
    database: Database
    processes: ExitStack
    clients: AsyncExitStack
    running: list[tuple[Running, httpx2.AsyncClient]] = field(default_factory=list)
    _turn: itertools.count = field(default_factory=itertools.count)

    async def start(self) -> None:
        serve = running_server_command(
            self.home,
            *("serve", "--only", "api"),
            settings={"DATABASE_URL": self.database.owner, "LIMITS__ENABLED": "false"},
        )
        process = await asyncio.to_thread(self.processes.enter_context, serve)
        client = httpx2.AsyncClient(base_url=process.url, timeout=60, verify=False)
        self.running.append((process, await self.clients.enter_async_context(client)))

    async def restart_oldest(self) -> None:
        process, _ = self.running[0]
        stopping = asyncio.create_task(asyncio.to_thread(process.stop, signal.SIGTERM))
        assert await stopping == 0
        del self.running[0]
        await self.start()

    def next_client(self) -> httpx2.AsyncClient:
        return self.running[next(self._turn) % len(self.running)][1]


async def _restart_worker(workers: WorkerProcesses, worker: WorkerProcess) -> None:
    def restart() -> None:
        worker.send(signal.SIGTERM)
        assert worker.process.wait(60) == 0
        workers.start_ready(1, "instant")

    await asyncio.to_thread(restart)


async def test_rolling_restart_under_uploads_loses_and_doubles_nothing(
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    settings: Settings,
    home: Path,
    figures: Figures,
) -> None:
    keep_journal(owner)
    refused: list[object] = []
    with worker_processes(cluster, home, database.owner) as workers, ExitStack() as processes:
        async with AsyncExitStack() as clients:
            servers = Servers(home, database, processes, clients)
            await asyncio.gather(servers.start(), servers.start())
            old = await asyncio.to_thread(workers.start_ready, 2, "instant")
            first, client = servers.running[0]
            system = System(first.url, settings, cluster.secrets, database, client)
            restarts: list[Callable[[], object]] = [
                servers.restart_oldest,
                servers.restart_oldest,
                *(lambda worker=worker: _restart_worker(workers, worker) for worker in old),
            ]
            people = [
                await system.join(("female", "male")[n % 2])
                for n in range(_UPLOADS * len(restarts))
            ]
            feeds = [Feed(person) for person in people]
            async with asyncio.TaskGroup() as background:
                following = [background.create_task(feed.follow(servers)) for feed in feeds]
                await until(lambda: all(feed.connections for feed in feeds))
                numbered = enumerate(people)
                jobs: list[UUID] = []
                for restart in restarts:
                    uploads = [
                        asyncio.create_task(accepted(servers, person, portrait(n), refused))
                        for n, person in itertools.islice(numbered, _UPLOADS)
                    ]
                    await restart()
                    jobs += await asyncio.gather(*uploads)
                await until(lambda: not count_open(owner))
                alike = len(people) // 2
                await until(lambda: all(len(feed.matches) >= alike for feed in feeds))
                for task in following:
                    task.cancel()

    steps = check_invariants(owner, jobs)
    assert steps["queued"] == steps["completed"] == len(people)
    for feed in feeds:
        assert len(feed.matches) == len(set(feed.matches)) == alike
        assert feed.connections > 1
    assert all(kind == 503 or isinstance(kind, type) for kind in refused)
    figures.note("servers and workers are restarted one after the other", len(restarts), steps)
