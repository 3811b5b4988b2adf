"""A worker process that stands still is killed, so that it is started again."""

from __future__ import annotations

import asyncio
import functools
import signal

import pytest
from structlog.testing import capture_logs

from automatch.cli.runtime import supervisor
from automatch.cli.runtime.signals import Shutdown
from automatch.cli.runtime.supervisor import WorkerSupervisor
from automatch.settings import Settings
from automatch.worker.signs_of_life import wait_until_silent
from tests.support.doctor import write_secrets
from tests.support.photo_store import mark_folder
from tests.support.postgres import Database, TestCluster
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


async def test_worker_without_signs_of_life_is_killed(
    settings: Settings, cluster: TestCluster, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_secrets(settings.home, cluster.secrets)
    mark_folder(database.owner, settings.home / "photos")
    # It gives its first sign by itself, and the next one would come too late.
    impatient = functools.partial(wait_until_silent, interval_s=0.01)
    monkeypatch.setattr(supervisor, "wait_until_silent", impatient)

    with capture_logs() as logs:
        async with WorkerSupervisor(settings, Shutdown()) as workers, asyncio.timeout(120):
            await workers.supervise()

    assert [(entry["event"], entry.get("status")) for entry in logs] == [
        ("worker gives no sign of life; killing it", None),
        ("worker exited unexpectedly; restarting it", -signal.SIGKILL),
    ]


async def test_worker_that_is_about_to_start_is_stopped_in_order(
    settings: Settings, cluster: TestCluster, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In which it starts first: a busy machine needs more than the default.
    monkeypatch.setenv("AUTOMATCH_WORKER__SHUTDOWN_TIMEOUT_S", f"{PATIENCE_S}")
    worker = settings.worker.model_copy(update={"shutdown_timeout_s": PATIENCE_S})
    settings = settings.model_copy(update={"worker": worker})
    write_secrets(settings.home, cluster.secrets)
    mark_folder(database.owner, settings.home / "photos")

    with capture_logs() as logs:
        async with WorkerSupervisor(settings, Shutdown()) as workers, asyncio.timeout(PATIENCE_S):
            supervising = asyncio.create_task(workers.supervise())
            while workers._process is None:
                await asyncio.sleep(0)
            process = workers._process
            supervising.cancel()
            await asyncio.wait({supervising})

    assert (process.returncode, logs) == (0, [])


async def test_silence_is_counted_from_the_last_sign_and_ends_with_the_worker() -> None:
    signs = asyncio.StreamReader()
    signs.feed_data(b".")
    assert await wait_until_silent(signs, interval_s=0)

    signs.feed_data(b"..")
    signs.feed_eof()
    assert not await wait_until_silent(signs)
