"""The end of a server that does not react."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from automatch.postgres import postmaster
from tests.support.waiting import PATIENCE_S

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


async def frozen() -> asyncio.subprocess.Process:
    """Start a process that takes no signal but SIGKILL."""
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
    process.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    return process


async def test_frozen_server_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postmaster, "FAST_S", 0.01)
    monkeypatch.setattr(postmaster, "_IMMEDIATE_S", 0.01)
    process = await frozen()

    async with asyncio.timeout(PATIENCE_S):
        await postmaster.end(process)

    assert process.returncode == -signal.SIGKILL


async def test_frozen_server_is_killed_early_when_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postmaster, "FAST_S", 600)
    monkeypatch.setattr(postmaster, "_IMMEDIATE_S", 600)
    monkeypatch.setattr(postmaster, "_FORCED_S", 0.01)
    process = await frozen()
    forced = asyncio.Event()
    asyncio.get_running_loop().call_soon(forced.set)

    async with asyncio.timeout(PATIENCE_S):
        await postmaster.end(process, forced)
        # In this case the last wait may have ended before the process has.
        await process.wait()

    assert process.returncode == -signal.SIGKILL
