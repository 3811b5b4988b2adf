"""The thread that renews leases is stopped while it works, fails, or has not begun."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from automatch.settings.worker import WorkerSettings
from automatch.worker.leases import Leases

pytestmark = pytest.mark.anyio


@pytest.fixture
def leases() -> Leases:
    return Leases("", WorkerSettings(), on_lost=lambda _: None, on_fault=lambda _: None)


async def test_a_thread_that_fails_while_it_is_stopped_ends_in_silence(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    renews = threading.Event()

    async def fail_when_stopped(stop: asyncio.Event, _: object) -> None:
        renews.set()
        await stop.wait()
        raise LookupError

    monkeypatch.setattr(leases, "_renew_until", fail_when_stopped)
    loop, said = asyncio.get_running_loop(), list[dict[str, Any]]()
    # What other tests have left is nothing of this one.
    gc.collect()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: said.append(context))
    heartbeat = asyncio.create_task(leases.run_heartbeat())
    await asyncio.to_thread(renews.wait)

    heartbeat.cancel()
    await asyncio.wait({heartbeat})

    assert heartbeat.cancelled()
    del heartbeat
    gc.collect()
    loop.set_exception_handler(handler)
    assert said == []


async def test_a_thread_that_ends_before_its_loop_runs_is_not_waited_for(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins, may_end = threading.Event(), threading.Event()

    def fail(heartbeat: Any) -> None:
        heartbeat.close()
        begins.set()
        may_end.wait()
        raise LookupError

    monkeypatch.setattr("automatch.worker.leases.asyncio.run", fail)
    heartbeat = asyncio.create_task(leases.run_heartbeat())
    await asyncio.to_thread(begins.wait)

    heartbeat.cancel()
    may_end.set()
    await asyncio.wait({heartbeat})

    assert heartbeat.cancelled()
