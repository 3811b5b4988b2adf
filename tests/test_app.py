from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from automatch.app import stop_when_broken


@pytest.fixture
def stops() -> Iterator[list[int]]:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


async def _break() -> None:
    raise ValueError


async def _end() -> None:
    return


@pytest.mark.parametrize(("work", "expected"), [(_break, [signal.SIGTERM]), (_end, [])])
def test_server_stops_when_its_feeds_break_and_only_then(
    stops: list[int], work: Any, expected: list[int]
) -> None:
    async def watch(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(stop_when_broken)
        await asyncio.wait([task])
        await asyncio.wait([asyncio.create_task(_end())])

    asyncio.run(watch(work()))

    assert stops == expected
