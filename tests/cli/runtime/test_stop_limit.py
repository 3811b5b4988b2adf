"""What a signal leads to when the process cannot stop by itself."""

from __future__ import annotations

import asyncio
import threading

import pytest

from automatch.cli.runtime import signals
from automatch.cli.runtime.signals import Shutdown

pytestmark = pytest.mark.anyio


async def test_process_that_does_not_stop_exits_after_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exited = threading.Event()
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        exited.set()

    monkeypatch.setattr(signals.os, "_exit", leave)
    shutdown = Shutdown(limit_s=0.01)

    shutdown.on_signal()
    shutdown.limit()
    assert await asyncio.to_thread(exited.wait, 60)

    assert codes == [1]


async def test_process_without_a_limit_takes_its_time() -> None:
    before = set(threading.enumerate())

    Shutdown().on_signal()

    # Others of this process may end meanwhile.
    assert set(threading.enumerate()) <= before
