"""Work that must not run where the event loop does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[bool]]:
    """Give a function that watches another one: whether each call was outside of the event loop."""

    def watch(owner: Any, name: str) -> list[bool]:
        original, calls = getattr(owner, name), list[bool]()

        def call(*parameters: Any, **more: Any) -> Any:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                calls.append(True)
            else:
                calls.append(False)
            return original(*parameters, **more)

        monkeypatch.setattr(owner, name, call)
        return calls

    return watch
