"""Hosts with folders, secrets and networks of their own, behind a pooler of transactions.

They share Postgres and a bucket. One is frozen, one is cut off, one is killed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import UUID

import httpx2
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from automatch.settings import Settings
from automatch.settings.storage import PhotoSettings
from tests.fault.conftest import Figures, Size
from tests.support.bucket import client_of
from tests.support.build import one
from tests.support.feed_clients import Feed, accepted
from tests.support.hosts import Host, networks
from tests.support.invariants import check_invariants, count_open, keep_journal
from tests.support.pgbouncer import find_pgbouncer, running_pgbouncer
from tests.support.photos import portrait
from tests.support.postgres import Database, TestCluster
from tests.support.system import System
from tests.support.waiting import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(find_pgbouncer() is None, reason="pgbouncer is not installed"),
]

_UPLOADS = 2
"""With each fault."""
_PATIENCE_S = 5
"""After this a client asks another server."""
_SCHEDULE = "select string_agg(command, ' ' order by jobname) from cron.job"


@dataclass
class Clients:
    """Clients of the hosts, of which each asks the next one when one is away."""

    clients: list[httpx2.AsyncClient]
    _turn: itertools.count = field(default_factory=itertools.count)

    def next_client(self) -> httpx2.AsyncClient:
        return self.clients[next(self._turn) % len(self.clients)]


@pytest.fixture
def hosts(
    cluster: TestCluster, database: Database, size: Size, tmp_path: Path
) -> Iterator[list[Host]]:
    """Give two hosts that run, one with its secrets in a file and one in its environment."""
    from moto.server import ThreadedMotoServer

    storage = ThreadedMotoServer("0.0.0.0", port=0, verbose=False)
    logins = [database.owner, database.api, database.worker, database.schedule]
    secrets = json.dumps(asdict(cluster.secrets))
    file = tmp_path / "secrets"
    file.write_text(secrets)
    with (
        networks(2) as placed,
        running_pgbouncer("transaction", logins, listen="0.0.0.0") as pooled,
        running_pgbouncer("session", logins, listen="0.0.0.0") as direct,
        ExitStack() as stack,
    ):
        storage.start()
        stack.callback(storage.stop)
        _, port = storage.get_host_and_port()
        bucket = PhotoSettings(
            bucket="photos",
            endpoint=f"http://127.0.0.1:{port}",
            access_key_id=SecretStr("key"),
            secret_access_key=SecretStr("secret"),
        )
        client_of(bucket).create_bucket(Bucket="photos")
        made = []
        for number, network in enumerate(placed):
            given = [("SECRETS_FILE", str(file)), ("SECRETS", secrets)][number]
            settings = {
                given[0]: given[1],
                "DATABASE_URL": make_conninfo(pooled, host=network.shared_ip),
                "DIRECT_URL": make_conninfo(direct, host=network.shared_ip),
                "PHOTOS__BUCKET": "photos",
                "PHOTOS__ENDPOINT": f"http://{network.shared_name}:{port}",
                "PHOTOS__ACCESS_KEY_ID": "key",
                "PHOTOS__SECRET_ACCESS_KEY": "secret",
                "LIMITS__ENABLED": "false",
                "RETENTION__MIN_FREE_MB": "0",
                "FEED__PING_S": "1",
                "POOL__TRANSACTION_TIMEOUT_S": str(_PATIENCE_S),
                "WORKER__POLL_S": "1",
                **{name.upper(): str(value) for name, value in size.lease_of_process.items()},
            }
            host = Host(tmp_path / f"host{number}", network, settings)
            made.append(host)
            stack.callback(host.stop)
        for part in ("serve", "worker"):
            for host in made:
                host.start(part)
        yield made


async def test_hosts_that_share_no_folder_lose_and_double_nothing(
    hosts: list[Host],
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    settings: Settings,
    figures: Figures,
) -> None:
    keep_journal(owner)
    refused: list[object] = []
    jobs: list[UUID] = []
    first, second = hosts
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx2.AsyncClient(base_url=host.url, timeout=_PATIENCE_S, verify=False)
            )
            for host in hosts
        ]
        joining = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=first.url, timeout=60)
        )
        system = System(first.url, settings, cluster.secrets, database, joining)
        people = [await system.join(("female", "male")[n % 2]) for n in range(4 * _UPLOADS)]
        alike = len(people) // 2
        feeds = [Feed(person) for person in people]
        numbered = enumerate(people)

        async def upload(*asked: int) -> None:
            servers = Clients([clients[n] for n in asked])
            jobs.extend(
                await asyncio.gather(
                    *(
                        accepted(servers, person, portrait(n), refused)
                        for n, person in itertools.islice(numbered, _UPLOADS)
                    )
                )
            )

        async def done() -> None:
            await until(lambda: not count_open(owner))

        async with asyncio.TaskGroup() as background:
            # Each begins at another server than the one before.
            following = [
                background.create_task(feed.follow(Clients(clients[n % 2 :] + clients[: n % 2])))
                for n, feed in enumerate(feeds)
            ]
            await until(lambda: all(feed.connections for feed in feeds))
            await upload(0, 1)
            await done()
            schedule = one(owner, _SCHEDULE)

            first.send(signal.SIGSTOP)
            await upload(1)
            await done()
            first.send(signal.SIGCONT)

            if first.network.link:
                first.network.set("down")
            await upload(1)
            await done()
            if first.network.link:
                first.network.set("up")
            await until(lambda: _is_ready(clients[0]))

            second.send(signal.SIGKILL)
            await upload(0)
            await done()
            await until(lambda: all(len(feed.matches) >= alike for feed in feeds))
            for task in following:
                task.cancel()

    steps = check_invariants(owner, jobs)
    assert steps["queued"] == steps["completed"] == len(people)
    for feed in feeds:
        assert len(feed.matches) == len(set(feed.matches)) == alike
    assert all(kind == 503 or isinstance(kind, type) for kind in refused)
    # One schedule, whoever leads.
    assert "http://automatch.localhost/" in schedule
    assert one(owner, _SCHEDULE) == schedule
    # Nothing of the installation lies on a host.
    for host in hosts:
        assert not (host.home / "secrets.json").exists()
        assert not (host.home / "photos").exists()
    figures.note("hosts are frozen, cut off and killed", 3, steps)


async def _is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx2.TransportError:
        return False
