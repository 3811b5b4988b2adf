"""A time limit inside the event loop, so that an async test that hangs fails alone.

pytest-timeout raises wherever the process happens to be. The event loop, which all async tests of
a process share, would go on with the test that hangs, and the tests after it would wait for that.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import Any

import pytest

_SHARE = 0.75
"""Of the limit of pytest-timeout, which remains for what is not async, and for fixtures."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Wrap the async tests."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            marker = item.get_closest_marker("timeout")
            limit_s = marker.args[0] if marker else float(config.getini("timeout"))
            item.obj = _limited(item.obj, _SHARE * limit_s)


def _limited(test: Any, limit_s: float) -> Any:
    @functools.wraps(test)
    async def limited(*args: Any, **more: Any) -> None:
        async with asyncio.timeout(limit_s):
            await test(*args, **more)

    return limited
