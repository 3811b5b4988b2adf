"""Polling for what has no event: processes, files, rows that another process writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], description: str, *, within_s: float = 40) -> T:
    """Return the value of *condition* once it is true; fail after *within_s*."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {within_s:g} s still not: {description}"
        time.sleep(0.02)
    return value
