"""Names the modules that hold the fixtures, and spreads the tests over processes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

# The same examples in every run, however slow the machine is: a case that nobody has seen is to be
# found by whoever looks for it (--hypothesis-profile default), not by an unrelated change.
settings.register_profile(
    "same",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("same")

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
    "tests.support.operators",
    "tests.support.console",
    "tests.support.command",
    "tests.support.doctor",
    "tests.support.loop",
]

_LONG = (
    *("browser/test_console.py", "browser", "fault", "ops", "cli", "deploy", "test_wheel.py"),
    *("bulk_import", "vision", "postgres", "docs", "guide", "supabase_compat", "worker", "http"),
    *("sql", "attack", "search", "store", "web", "services", "telemetry"),
)
"""Where tests start programs or have files that take long, the longest first."""

_TOGETHER = (
    (
        "tests/sql/test_supabase_project.py",
        "tests/supabase_compat/test_supabase_app.py",
        "tests/docs/test_supabase_page.py",
    ),
)
"""Files that share what takes long to start: a cluster like that of Supabase."""


class _Scheduling(LoadFileScheduling):
    """Gives a file to one process, and with it the files that share something with it."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((some[0] for some in _TOGETHER if file.startswith(some)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Scheduling:
    """Spread files, not single tests: fixtures of a module are made once."""
    return _Scheduling(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores: many tests wait for other processes."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long files first: one that is begun last would run alone at the end."""
    root = config.rootpath / "tests"

    def priority(item: pytest.Item) -> int:
        path = item.path.relative_to(root)
        return next((n for n, long in enumerate(_LONG) if path.is_relative_to(long)), len(_LONG))

    items.sort(key=priority)
