"""Names the modules that hold the fixtures, and spreads the tests over processes."""

from __future__ import annotations

import os
import sys

import pytest

# Where it is switched off, each process compiles all modules again, and pytest rewrites all tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = [
    "tests.support.memory",
    "tests.support.time_limit",
    "tests.support.issuer",
    "tests.support.postgres",
    "tests.support.homes",
    "tests.support.supabase",
    "tests.support.bucket",
    "tests.support.build",
    "tests.support.system",
    "tests.support.command",
    "tests.support.doctor",
]

_LONG = ("browser", "fault", "cli", "guide", "docs", "bulk_import", "vision", "postgres")
"""Folders of tests that start programs and wait for them."""


def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores: many tests wait for other processes."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long files first: one that is begun last would run alone at the end."""
    root = config.rootpath / "tests"

    def priority(item: pytest.Item) -> int:
        folder = item.path.relative_to(root).parts[0]
        return _LONG.index(folder) if folder in _LONG else len(_LONG)

    items.sort(key=priority)
