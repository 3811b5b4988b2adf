from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from automatch.background import BackgroundTasks

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("error", [ValueError("lost"), None])
async def test_task_that_ends_is_started_again_and_is_failing_until_it_runs_steadily(
    error: Exception | None,
) -> None:
    started: asyncio.Queue[list[str]] = asyncio.Queue()
    end = asyncio.Event()
    background = BackgroundTasks(backoff_s=0, stable_s=0.01)

    async def run() -> None:
        started.put_nowait(background.failing)
        await end.wait()
        end.clear()
        if error:
            raise error

    with capture_logs() as logged:
        async with background.running("feeds", run):
            assert await started.get() == []
            end.set()
            assert await started.get() == ["feeds"]
            assert background.runs("feeds")
            while background.failing:
                await asyncio.sleep(0)
    assert started.empty()
    assert not background.runs("feeds")
    assert any(entry["log_level"] == "error" for entry in logged) is (error is not None)


async def test_task_ends_with_the_block_and_is_not_failing_then() -> None:
    background = BackgroundTasks(backoff_s=0, stable_s=60)
    ended = asyncio.Event()
    failed = asyncio.Event()

    async def run() -> None:
        if not failed.is_set():
            failed.set()
            raise ValueError
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with background.running("feeds", run):
        await failed.wait()
        while not background.failing:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert background.failing == []
