"""Files of one photo that are written at once."""

from __future__ import annotations

import asyncio

import pytest

from automatch.errors.store import StorageFullError
from automatch.photos.store import written
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


async def test_no_write_waits_for_the_other() -> None:
    both = asyncio.Barrier(2)

    async def write() -> None:
        async with both:
            pass

    async with asyncio.timeout(PATIENCE_S):
        await written(write(), write())


async def test_error_is_raised_when_nothing_is_written_any_more() -> None:
    failed, ended = asyncio.Event(), False

    async def fail() -> None:
        failed.set()
        raise StorageFullError

    async def write() -> None:
        nonlocal ended
        await failed.wait()
        ended = True

    with pytest.raises(StorageFullError):
        await written(fail(), write())

    assert ended
