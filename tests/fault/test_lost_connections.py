"""The network between workers and Postgres: cut, silent, slow, in pieces, and deaf.

The workers run here, so that nobody waits for them to start and what they wait for is short.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.settings.worker import WorkerSettings
from automatch.store import notify
from automatch.vision import Embedder
from tests.fault.conftest import SIZES, Figures, Size
from tests.support.invariants import check_invariants, count_open, keep_journal
from tests.support.photos import portrait
from tests.support.population import add_people, enqueue_faces
from tests.support.postgres import Database, TestCluster
from tests.support.proxy import proxy_to
from tests.support.system import running_server, running_worker
from tests.support.waiting import logged, until, wait_until
from tests.support.worker_processes import worker_processes

pytestmark = pytest.mark.anyio

JOB_S = 0.01
SHORT_LEASE = {"lease_s": 2.0, "heartbeat_s": 0.5, "sweep_s": 0.2}
"""For one worker in the short form: whoever is slow to renew only tries a job again."""


Logs = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Workers:
    """Workers with small batches, which soon notice."""

    settings: Settings
    cluster: TestCluster
    embedder: Embedder
    size: Size

    @asynccontextmanager
    async def running(
        self, url: str, count: int = 1, *, transaction_timeout_s: float = 2, **lease: float
    ) -> AsyncIterator[Logs]:
        """Run workers on an address until left; give what they log."""
        lease = lease if lease and self.size == SIZES["short"] else self.size.lease
        worker = WorkerSettings(batch=10, poll_s=1, outage_pause_max_s=1, **lease)
        settings = self.settings.model_copy(
            update={
                "worker": worker,
                "pool": PoolSettings(transaction_timeout_s=transaction_timeout_s),
                "database_url": SecretStr(url),
            }
        )
        async with AsyncExitStack() as stack:
            # What goes wrong is logged with its traceback, which takes long to write.
            logs = stack.enter_context(capture_logs())
            for _ in range(count):
                await stack.enter_async_context(
                    running_worker(settings, self.cluster.secrets, self.embedder)
                )
            yield logs


@pytest.fixture
def workers(settings: Settings, cluster: TestCluster, embedder: Embedder, size: Size) -> Workers:
    return Workers(settings, cluster, embedder, size)


async def _left(owner: psycopg.Connection, most: int) -> None:
    await asyncio.to_thread(
        wait_until, lambda: count_open(owner) <= most, f"{most} jobs left", within_s=300
    )


async def _all_done(owner: psycopg.Connection, jobs: list[UUID]) -> Counter[str]:
    await _left(owner, 0)
    steps = check_invariants(owner, jobs)
    assert steps["completed"] == len(jobs)
    return steps


async def test_workers_continue_while_their_connections_are_terminated(
    database: Database,
    owner: psycopg.Connection,
    workers: Workers,
    size: Size,
    figures: Figures,
) -> None:
    keep_journal(owner, job_s=JOB_S)
    jobs = enqueue_faces(owner, add_people(owner, size.jobs // 3))
    async with workers.running(database.owner, 2, **SHORT_LEASE):
        for number in range(size.cuts):
            await _left(owner, len(jobs) * (size.cuts - number) // (size.cuts + 1))
            owner.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where usename = 'automatch_worker' and datname = current_database()"
            )
            owner.commit()
        steps = await _all_done(owner, jobs)
    figures.note("all connections are terminated (pg_terminate_backend)", size.cuts, steps)


async def test_workers_continue_when_their_connections_drop_all_data(
    database: Database,
    owner: psycopg.Connection,
    workers: Workers,
    size: Size,
    figures: Figures,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if size == SIZES["short"]:
        monkeypatch.setattr(notify, "_PROBE_S", 1)
        monkeypatch.setattr(notify, "_PROBE_TIMEOUT_S", 1)
    keep_journal(owner, job_s=JOB_S)
    jobs = enqueue_faces(owner, add_people(owner, 100))
    with proxy_to(database.owner) as (proxy, url):
        async with workers.running(url, **SHORT_LEASE) as logs:
            await _left(owner, len(jobs) - 20)
            assert proxy.drop_all_data() >= 2
            await logged(logs, "connection closed: no answer")
            # Idle now, and the silence comes to the connection it is woken up by.
            await _left(owner, 0)
            await until(lambda: _someone_sleeps(owner))
            proxy.drop_all_data()
            jobs += enqueue_faces(owner, add_people(owner, 4, school="HCMUS", seed=1))
            steps = await _all_done(owner, jobs)
    figures.note("all connections drop all data (no FIN, no RST)", 2, steps)


@pytest.mark.parametrize("trouble", ["slow: 20 ms a message", "in pieces of 3 bytes"])
async def test_workers_continue_on_a_slow_connection_with_small_packets(
    database: Database, owner: psycopg.Connection, workers: Workers, trouble: str, figures: Figures
) -> None:
    keep_journal(owner)
    # Two batches; each of them waits for hundreds of messages.
    jobs = enqueue_faces(owner, add_people(owner, 8))
    with proxy_to(database.owner) as (proxy, url):
        if "slow" in trouble:
            proxy.delay_s = 0.02
        else:
            proxy.chunk_bytes = 3
        async with workers.running(url):
            steps = await _all_done(owner, jobs)

    assert steps["expired"] == 0
    figures.note(f"the network is {trouble}", 1, steps)


async def test_jobs_are_found_when_every_notification_is_lost(
    database: Database, owner: psycopg.Connection, workers: Workers, figures: Figures
) -> None:
    keep_journal(owner)
    with proxy_to(database.owner) as (proxy, url):
        proxy.drops_notifications = True
        async with workers.running(url):
            await until(lambda: _someone_sleeps(owner))
            jobs = enqueue_faces(owner, add_people(owner, 8))
            steps = await _all_done(owner, jobs)

    assert proxy.dropped_notifications > 0, "nobody was notified: nothing was tried"
    figures.note("every notification is lost", proxy.dropped_notifications, steps)


@pytest.mark.parametrize(
    "statements",
    [("commit", "complete_match_jobs", "claim_match_jobs"), ("renew_match_leases",)],
    ids=" ".join,
)
async def test_no_job_is_duplicated_when_a_response_is_lost(
    database: Database,
    owner: psycopg.Connection,
    workers: Workers,
    statements: tuple[str, ...],
    figures: Figures,
) -> None:
    # A lease is renewed only by who works for longer than a beat: here for eight of them.
    renews = "renew_match_leases" in statements
    keep_journal(owner, job_s=0.2 if renews else 0)
    jobs = enqueue_faces(owner, add_people(owner, 40))
    answered: Counter[str] = Counter()

    def second_of_its_kind(done: str) -> bool:
        # Its maintenance commits in another way, together with a reset.
        for one in statements:
            if done == one if one == "commit" else one in done:
                answered[one] += 1
                return answered[one] == 2
        return False

    with proxy_to(database.owner) as (proxy, url):
        proxy.disconnect_before_response_to = second_of_its_kind
        # No job takes a second; where a busy server takes some, no other response is to be lost.
        patience = {"lease_s": 30, "transaction_timeout_s": 20} if renews else {"lease_s": 2}
        async with workers.running(url, heartbeat_s=0.5, sweep_s=0.2, **patience):
            steps = await _all_done(owner, jobs)

    assert proxy.disconnects == len(statements)
    # What was claimed with the answer that nobody heard came back when its lease ended.
    assert (steps["expired"] > 0) != renews
    figures.note(
        f"the connection is cut between {', '.join(statements)} and the response",
        proxy.disconnects,
        steps,
    )


async def test_upload_sent_again_after_a_lost_response_exists_once(
    cluster: TestCluster, database: Database, settings: Settings
) -> None:
    with proxy_to(database.owner) as (proxy, url):
        behind = settings.model_copy(
            update={"database_url": Settings(database_url=url).database_url}
        )
        async with running_server(behind, cluster.secrets, database) as server:
            person = await server.join()
            commits = 0

            def second_commit(done: str) -> bool:
                # The first is that of the look whether the person agreed.
                nonlocal commits
                is_commit = done.startswith("commit")
                commits += is_commit
                return is_commit and commits == 2

            proxy.disconnect_before_response_to = second_commit
            lost = await person.upload(portrait(1))
            proxy.disconnect_before_response_to = lambda _: False
            again = await person.upload(portrait(1))

    assert proxy.disconnects == 1
    assert (lost.status_code, lost.json()["error"]["code"]) == (503, "db_unavailable")
    assert again.status_code in {200, 202}
    with psycopg.connect(database.owner) as conn:
        jobs = conn.execute("select id::text from public.match_jobs").fetchall()
    assert jobs == [(again.json()["job"]["id"],)]


def _someone_sleeps(conn: psycopg.Connection) -> bool:
    row = conn.execute(
        "select exists (select from pg_locks where locktype = 'advisory' and granted"
        " and (classid::bigint << 32) + objid::bigint = automatch.lock_key('idle_worker')"
        " and database = (select oid from pg_database where datname = current_database()))"
    ).fetchone()
    conn.commit()
    assert row is not None
    return bool(row[0])


async def test_worker_ends_in_its_time_while_the_database_does_not_answer(
    cluster: TestCluster, database: Database, home: Path
) -> None:
    with (
        proxy_to(database.worker) as (proxy, address),
        worker_processes(cluster, home, address, worker__shutdown_timeout_s=1) as workers,
    ):
        proxy.drops_all_data = True
        worker = workers.start()
        # From here on it waits for an answer twice as long as it may take to stop.
        wait_until(lambda: proxy.dropped_packets, "it connects")
        worker.send(signal.SIGTERM)

        assert worker.process.wait(60) == 1
        assert worker.log_entries("not stopped in time; exiting")
