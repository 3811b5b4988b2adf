"""Polling for what has no event: processes, files, rows that another process writes."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE_S = 150.0
"""Longer than a machine takes that other programs keep busy, and shorter than a test may take."""


def wait_until(condition: Callable[[], T], description: str, *, within_s: float = PATIENCE_S) -> T:
    """Return the value of *condition* once it is true; fail after *within_s*."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {within_s:g} s still not: {description}"
        time.sleep(0.02)
    return value


async def until(condition: Callable[[], object]) -> None:
    """Return once *condition*, or what it gives to wait for, is true."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            value = condition()
            if await value if inspect.isawaitable(value) else value:
                return
            await asyncio.sleep(0.02)


async def logged(logs: Sequence[Mapping[str, Any]], event: str) -> list[Mapping[str, Any]]:
    """Return the entries of an event that is logged right after its effect can be seen."""
    async with asyncio.timeout(PATIENCE_S):
        while not (entries := [entry for entry in logs if entry["event"] == event]):
            await asyncio.sleep(0.02)
    return entries
