"""The lock that batches hold: many share it, or one holds it exclusively."""

from __future__ import annotations

import asyncio

import pytest

from automatch.worker.run import SharedExclusiveLock

pytestmark = pytest.mark.anyio


class Holder:
    """A task that holds the lock until it is told to release it."""

    def __init__(self, lock: SharedExclusiveLock, *, exclusive: bool = False) -> None:
        self.acquired, self._may_release = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._hold(lock, exclusive))

    async def _hold(self, lock: SharedExclusiveLock, exclusive: bool) -> None:
        async with lock.hold(exclusive=exclusive):
            self.acquired.set()
            await self._may_release.wait()

    async def release(self) -> None:
        self._may_release.set()
        await self.task


async def _run_other_tasks() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_many_hold_a_shared_lock_together() -> None:
    lock = SharedExclusiveLock()
    holders = [Holder(lock) for _ in range(3)]

    for holder in holders:
        await holder.acquired.wait()
    for holder in holders:
        await holder.release()


async def test_exclusive_holder_waits_for_all_others_and_keeps_new_ones_out() -> None:
    lock = SharedExclusiveLock()
    first = Holder(lock)
    await first.acquired.wait()
    exclusive = Holder(lock, exclusive=True)
    await _run_other_tasks()
    late = Holder(lock)
    await _run_other_tasks()
    assert not exclusive.acquired.is_set()
    assert not late.acquired.is_set(), "a waiting exclusive holder goes first"

    await first.release()
    await exclusive.acquired.wait()
    await _run_other_tasks()
    assert not late.acquired.is_set()

    await exclusive.release()
    await late.acquired.wait()
    await late.release()


async def test_two_exclusive_holders_follow_one_another() -> None:
    lock = SharedExclusiveLock()
    first, second = Holder(lock, exclusive=True), Holder(lock, exclusive=True)
    await first.acquired.wait()
    await _run_other_tasks()
    assert not second.acquired.is_set()

    await first.release()
    await second.acquired.wait()
    await second.release()


async def test_cancelled_wait_for_an_exclusive_lock_lets_others_in() -> None:
    lock = SharedExclusiveLock()
    first = Holder(lock)
    await first.acquired.wait()
    exclusive = Holder(lock, exclusive=True)
    await _run_other_tasks()
    late = Holder(lock)
    exclusive.task.cancel()

    await late.acquired.wait()
    await first.release()
    await late.release()
