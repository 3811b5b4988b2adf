"""How much a worker claims at once, where it begins to look, and how long it waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from automatch.errors.store import DatabaseUnavailableError
from automatch.model.jobs import ClaimedJob
from automatch.settings.database import PoolSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.store.notify import JobNotifier
from automatch.worker.fetch import Line
from automatch.worker.leases import Leases

if TYPE_CHECKING:
    from automatch.store.queue import Claim


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("automatch.worker.fetch.time", clock)
    return clock


def a_line(**more: Any) -> Line:
    settings = WorkerSettings(**more)
    # Never connected: these tests ask for what needs no database.
    return Line(
        Database("host=/nowhere", PoolSettings(), name="test"),
        JobNotifier("host=/nowhere", name="test"),
        Leases("host=/nowhere", settings, lambda _: None),
        uuid4(),
        settings,
    )


def a_claimed_job(position: int) -> ClaimedJob:
    return ClaimedJob(
        uuid4(), 1, 1, 5, uuid4(), "x", is_embedded=True, isolated=False, position=position
    )


def claim_of(line: Line) -> Claim:
    claim = line.next_claim()
    assert claim is not None
    return claim


@pytest.mark.anyio
async def test_claim_is_as_large_as_the_jobs_before_were_quick(clock: Clock) -> None:
    line = a_line(batch=100, batch_s=0.2)
    limits = []
    for seconds_a_job in (0.1, 0.0001, 10):
        for _ in range(20):
            line.worked(10, 10 * seconds_a_job)
        limits.append(claim_of(line).limit)

    assert limits == [2, 100, 1]


@pytest.mark.anyio
async def test_claim_begins_where_the_last_one_stopped_and_looks_at_all_every_second(
    clock: Clock,
) -> None:
    line = a_line()
    line.took([a_claimed_job(70), a_claimed_job(90)])
    floors = []
    for seconds in (0, 0.5, 0.4, 0.2, 0.1):
        clock.now += seconds
        floors.append(claim_of(line).floor)

    assert floors == [0, 70, 70, 0, 70]


@pytest.mark.anyio
async def test_empty_claim_moves_nothing(clock: Clock) -> None:
    line = a_line()
    claim_of(line)
    line.took([a_claimed_job(70)])
    line.took([])

    assert claim_of(line).floor == 70


@pytest.mark.anyio
async def test_closed_line_gives_out_nothing_and_lets_nobody_wait() -> None:
    line = a_line()
    line.close()

    assert line.next_claim() is None
    assert await line.next_batch() == []
    # Without a pause, too.
    await line.recover(DatabaseUnavailableError())


@pytest.mark.anyio
async def test_who_sleeps_waits_for_the_ring_or_for_the_next_job_that_is_due() -> None:
    line = a_line(poll_s=5)

    assert line._pause(None, asleep=True) == 5
    assert line._pause(2.5, asleep=True) == 2.5
    assert line._pause(60, asleep=True) == 5


@pytest.mark.anyio
async def test_who_cannot_be_rung_looks_within_a_second() -> None:
    assert a_line(poll_s=5)._pause(None, asleep=False) == 1


@pytest.mark.anyio
async def test_job_that_is_due_and_not_to_be_had_is_asked_for_more_and_more_rarely() -> None:
    line = a_line(poll_s=5)
    pauses = [line._pause(0, asleep=True) for _ in range(6)]

    assert pauses == [0.02, 0.04, 0.08, 0.16, 0.25, 0.25]
