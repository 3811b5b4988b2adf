"""The end of a worker that does not react."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest
from structlog.testing import capture_logs

from automatch.cli.runtime import supervisor
from automatch.cli.runtime.signals import Shutdown
from automatch.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.mark.skipif(sys.platform != "linux", reason="waits for a stopped child")
async def test_frozen_worker_is_killed_soon_after_a_forced_shutdown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
    process.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    async def start(_: Settings) -> asyncio.subprocess.Process:
        return process

    monkeypatch.setattr(supervisor, "start_worker_process", start)
    monkeypatch.setattr(supervisor, "WORKER_GRACE_S", 600)
    monkeypatch.setattr(supervisor, "_FORCED_S", 0.01)
    shutdown = Shutdown()
    worker = supervisor.WorkerSupervisor(settings, shutdown)
    supervising = asyncio.create_task(worker.supervise())
    await asyncio.sleep(0)
    supervising.cancel()

    shutdown.on_signal()
    shutdown.on_signal()
    with capture_logs() as logs:
        async with asyncio.timeout(60):
            await worker.stop()

    assert process.returncode == -signal.SIGKILL
    assert [entry["event"] for entry in logs] == ["worker does not stop; killing it"]
