"""Waiting for what has no event: processes, files, rows that another process writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, *, within_s: float = 40) -> T:
    """Return what *condition* gives once that is true; fail when it takes too long."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {within_s:g} s still not: {what}"
        time.sleep(0.02)
    return value
