"""How many jobs a worker claims at once, from which position, and how long it waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from automatch.errors.store import DatabaseUnavailableError
from automatch.model.jobs import ClaimedJob
from automatch.settings.database import PoolSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database as Pool
from automatch.store.notify import JobNotifier
from automatch.worker.fetch import JobFetcher
from automatch.worker.leases import Leases
from automatch.worker.lookout import Lookout
from automatch.worker.observer import JobObserver
from tests.support.postgres import Database
from tests.support.worker import run_worker

if TYPE_CHECKING:
    from automatch.store.queue.queue import ClaimRequest


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("automatch.worker.fetch.time", clock)
    return clock


def a_fetcher(**options: Any) -> JobFetcher:
    settings = WorkerSettings(**options)
    # Never connected: these tests need no database.
    return JobFetcher(
        Pool("host=/nowhere", PoolSettings(), name="test"),
        JobNotifier("host=/nowhere", name="test"),
        Leases("host=/nowhere", settings, lambda _: None, lambda _: None),
        uuid4(),
        settings,
        observer=JobObserver(),
        lookout=Lookout(),
    )


def a_claimed_job(position: int) -> ClaimedJob:
    return ClaimedJob(
        uuid4(), 1, 1, 5, uuid4(), "x", is_embedded=True, isolated=False, position=position
    )


def next_claim(fetcher: JobFetcher) -> ClaimRequest:
    claim = fetcher.next_claim()
    assert claim is not None
    return claim


@pytest.mark.anyio
async def test_claim_is_larger_the_faster_the_jobs_before_were(clock: Clock) -> None:
    fetcher = a_fetcher(batch=100, batch_s=0.2)
    limits = []
    for seconds_per_job in (0.1, 0.0001, 10):
        for _ in range(20):
            fetcher.record_duration(10, 10 * seconds_per_job)
        limits.append(next_claim(fetcher).limit)

    assert limits == [2, 100, 1]


@pytest.mark.anyio
async def test_claim_starts_where_the_last_one_stopped_and_at_zero_once_a_second(
    clock: Clock,
) -> None:
    fetcher = a_fetcher()
    fetcher.register_leases([a_claimed_job(70), a_claimed_job(90)])
    positions = []
    for seconds in (0, 0.5, 0.4, 0.2, 0.1):
        clock.now += seconds
        positions.append(next_claim(fetcher).min_position)

    assert positions == [0, 70, 70, 0, 70]


@pytest.mark.anyio
async def test_empty_claim_does_not_change_the_position(clock: Clock) -> None:
    fetcher = a_fetcher()
    next_claim(fetcher)
    fetcher.register_leases([a_claimed_job(70)])
    fetcher.register_leases([])

    assert next_claim(fetcher).min_position == 70


@pytest.mark.anyio
async def test_closed_fetcher_claims_nothing_and_ends_every_wait() -> None:
    fetcher = a_fetcher()
    fetcher.close()

    assert fetcher.next_claim() is None
    assert await fetcher.next_batch() == []
    # Returns without a pause, too.
    await fetcher.pause(DatabaseUnavailableError(), in_job=False)


@pytest.mark.anyio
async def test_idle_worker_waits_for_a_notification_or_for_the_next_job_that_is_due() -> None:
    fetcher = a_fetcher(poll_s=5)

    assert fetcher._pause(None, is_idle=True) == 5
    assert fetcher._pause(2.5, is_idle=True) == 2.5
    assert fetcher._pause(60, is_idle=True) == 5


@pytest.mark.anyio
async def test_worker_that_cannot_be_notified_polls_within_a_second() -> None:
    assert a_fetcher(poll_s=5)._pause(None, is_idle=False) == 1


@pytest.mark.anyio
async def test_due_job_that_cannot_be_claimed_is_polled_at_growing_intervals() -> None:
    fetcher = a_fetcher(poll_s=5)
    pauses = [fetcher._pause(0, is_idle=True) for _ in range(6)]

    assert pauses == [0.02, 0.04, 0.08, 0.16, 0.25, 0.25]


@pytest.mark.anyio
async def test_idle_worker_keeps_its_place_while_it_finds_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    looked = asyncio.Event()

    def count(kind: type, name: str) -> None:
        function = getattr(kind, name)

        async def counted(*arguments: object) -> object:
            calls[name] += 1
            if calls["look"] == 6:
                looked.set()
            return await function(*arguments)

        monkeypatch.setattr(kind, name, counted)

    count(JobFetcher, "_claim")
    count(JobNotifier, "look")
    count(JobNotifier, "unregister_idle")
    async with run_worker(database, poll_s=0.02):
        await looked.wait()
        assert calls["unregister_idle"] == 0
        # It looks in one statement, and claims when there is something.
        assert calls["_claim"] == 1
