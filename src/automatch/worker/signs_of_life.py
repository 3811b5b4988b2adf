"""Signs of life of a worker process: bytes on a pipe, which a process that stands still owes."""

from __future__ import annotations

import asyncio
import contextlib
import os

INTERVAL_S = 10.0
_SILENT_INTERVALS = 6


async def show_signs(descriptor: int) -> None:
    """Write a byte to a pipe every ten seconds, until cancelled."""
    # A reader that stands still may not hold up the worker, and no process of its own needs it.
    os.set_blocking(descriptor, False)
    os.set_inheritable(descriptor, False)
    while True:
        with contextlib.suppress(OSError):
            os.write(descriptor, b".")
        await asyncio.sleep(INTERVAL_S)


async def wait_until_silent(signs: asyncio.StreamReader, *, interval_s: float = INTERVAL_S) -> bool:
    """Return True after a minute without a byte, False when the other end is closed.

    The first byte may take any time, because the start does. Intervals are counted, not seconds:
    a reader that was frozen itself finds that only one has gone by.
    """
    silent = 0
    heard = await signs.read(1)
    while heard:
        try:
            async with asyncio.timeout(interval_s):
                heard = await signs.read(1024)
            silent = 0
        except TimeoutError:
            silent += 1
            if silent == _SILENT_INTERVALS:
                return True
    return False
