"""The network between workers and Postgres: cut, silent, slow, in pieces, and deaf."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from automatch.settings import Settings
from tests.fault.conftest import Figures, Size
from tests.support.invariants import check_invariants, count_open, keep_journal
from tests.support.photos import portrait
from tests.support.population import add_people, enqueue_faces
from tests.support.postgres import Database, TestCluster
from tests.support.proxy import proxy_to
from tests.support.system import running_server
from tests.support.waiting import wait_until
from tests.support.worker_processes import WorkerProcesses, worker_processes

JOB_S = 0.01
ANSWER_S = 2
"""`pool.transaction_timeout_s` in these tests."""


@pytest.fixture
def small(size: Size) -> dict[str, object]:
    """Give the settings of workers with small batches, which soon notice."""
    return {
        "worker__batch": 10,
        "worker__poll_s": 1,
        "worker__outage_pause_max_s": 1,
        "pool__transaction_timeout_s": ANSWER_S,
        **size.lease,
    }


def _all_done(
    owner: psycopg.Connection, workers: WorkerProcesses, jobs: list[UUID]
) -> Counter[str]:
    wait_until(lambda: count_open(owner) == 0, "all jobs ended", within_s=300)
    assert all(worker.is_alive for worker in workers.processes), "a worker ended"
    steps = check_invariants(owner, jobs)
    assert steps["completed"] == len(jobs)
    return steps


def test_workers_continue_while_their_connections_are_terminated(
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    home: Path,
    size: Size,
    small: dict[str, object],
    figures: Figures,
) -> None:
    keep_journal(owner, job_s=JOB_S)
    jobs = enqueue_faces(owner, add_people(owner, size.jobs // 3))
    with worker_processes(cluster, home, database.owner, **small) as workers:
        workers.start_ready(2)
        for number in range(size.cuts):
            left = len(jobs) * (size.cuts - number) // (size.cuts + 1)
            wait_until(
                lambda left=left: count_open(owner) <= left, f"{left} jobs left", within_s=300
            )
            owner.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where usename = 'automatch_worker' and datname = current_database()"
            )
            owner.commit()
        steps = _all_done(owner, workers, jobs)
    figures.note("all connections are terminated (pg_terminate_backend)", size.cuts, steps)


def test_workers_continue_when_their_connections_drop_all_data(
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    home: Path,
    small: dict[str, object],
    figures: Figures,
) -> None:
    keep_journal(owner, job_s=JOB_S)
    jobs = enqueue_faces(owner, add_people(owner, 200))
    with (
        proxy_to(database.owner) as (proxy, url),
        worker_processes(cluster, home, url, **small) as workers,
    ):
        (worker,) = workers.start_ready(1)
        wait_until(lambda: count_open(owner) < len(jobs) - 40, "some jobs ended")
        assert proxy.drop_all_data() >= 2
        worker.wait_for_log("connection closed: no answer")
        # Idle now, and the silence comes to the connection it is woken up by.
        wait_until(lambda: count_open(owner) == 0, "all jobs ended", within_s=60)
        wait_until(lambda: _someone_sleeps(owner), "the worker sleeps")
        proxy.drop_all_data()
        jobs += enqueue_faces(owner, add_people(owner, 4, school="HCMUS", seed=1))
        steps = _all_done(owner, workers, jobs)
    figures.note("all connections drop all data (no FIN, no RST)", 2, steps)


@pytest.mark.parametrize("trouble", ["slow: 20 ms a message", "in pieces of 3 bytes"])
def test_workers_continue_on_a_slow_connection_with_small_packets(
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    home: Path,
    small: dict[str, object],
    trouble: str,
    figures: Figures,
) -> None:
    keep_journal(owner)
    # Two batches; each of them waits for hundreds of messages.
    jobs = enqueue_faces(owner, add_people(owner, 20))
    with (
        proxy_to(database.owner) as (proxy, url),
        worker_processes(cluster, home, url, **small) as workers,
    ):
        if "slow" in trouble:
            proxy.delay_s = 0.02
        else:
            proxy.chunk_bytes = 3
        workers.start_ready(1)
        steps = _all_done(owner, workers, jobs)

    assert steps["expired"] == 0
    figures.note(f"the network is {trouble}", 1, steps)


def test_jobs_are_found_when_every_notification_is_lost(
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    home: Path,
    small: dict[str, object],
    figures: Figures,
) -> None:
    keep_journal(owner)
    with (
        proxy_to(database.owner) as (proxy, url),
        worker_processes(cluster, home, url, **small) as workers,
    ):
        proxy.drops_notifications = True
        workers.start_ready(1)
        wait_until(lambda: _someone_sleeps(owner), "the worker sleeps")
        jobs = enqueue_faces(owner, add_people(owner, 8))
        steps = _all_done(owner, workers, jobs)

    assert proxy.dropped_notifications > 0, "nobody was notified: nothing was tried"
    figures.note("every notification is lost", proxy.dropped_notifications, steps)


@pytest.mark.parametrize(
    "statement", ["commit", "complete_match_jobs", "claim_match_jobs", "renew_match_leases"]
)
def test_no_job_is_duplicated_when_a_response_is_lost(
    cluster: TestCluster,
    database: Database,
    owner: psycopg.Connection,
    home: Path,
    small: dict[str, object],
    statement: str,
    figures: Figures,
) -> None:
    # A lease is renewed only by who works for longer than a beat.
    keep_journal(owner, job_s=0.1 if statement == "renew_match_leases" else 0)
    small |= {"worker__lease_s": 5, "worker__heartbeat_s": 1, "worker__sweep_s": 0.5}
    jobs = enqueue_faces(owner, add_people(owner, 80))
    answered = 0

    def every_second(done: str) -> bool:
        nonlocal answered
        # Its maintenance commits in another way, together with a reset.
        is_meant = done == "commit" if statement == "commit" else statement in done
        if not is_meant or proxy.disconnects == 2:
            return False
        answered += 1
        return answered % 2 == 0

    with (
        proxy_to(database.owner) as (proxy, url),
        worker_processes(cluster, home, url, **small) as workers,
    ):
        proxy.disconnect_before_response_to = every_second
        workers.start_ready(1)
        steps = _all_done(owner, workers, jobs)

    assert proxy.disconnects > 0
    # What was claimed with the answer that nobody heard came back when its lease ended.
    assert (steps["expired"] > 0) == (statement != "renew_match_leases")
    figures.note(
        f"the connection is cut between {statement} and its response", proxy.disconnects, steps
    )


@pytest.mark.anyio
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


def test_worker_ends_in_its_time_while_the_database_does_not_answer(
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
