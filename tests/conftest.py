"""Names the modules that hold the fixtures, and spreads the tests over processes."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from functools import cache
from typing import TYPE_CHECKING

import httpcore2
import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

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

# Until all tests are collected (below): nothing of what is imported and collected is ever garbage.
gc.disable()

# Where it is switched off, each process compiles all modules again, and pytest rewrites all tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Processes share the folder, and a test counts the files that its own server leaves there.
tempfile.template = f"tmp{os.getpid()}-"

# Each client reads all certificates of the machine, which takes longer than most of its requests.
httpcore2.default_ssl_context = cache(httpcore2.default_ssl_context)

# With the values of all names it takes up to a second of CPU, in which no request is answered.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

_FIXTURES = (
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
)
pytest.register_assert_rewrite(*_FIXTURES)

_LONG = (
    *("browser", "fault", "ops", "cli", "deploy", "test_wheel.py"),
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
    ("tests/browser/",),
)
"""Files that share what takes long to start: a cluster like that of Supabase, and browsers."""


class _Scheduling(LoadFileScheduling):
    """Gives a file to one process, and with it the files that share something with it."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((some[0] for some in _TOGETHER if file.startswith(some)), file)


def pytest_configure(config: pytest.Config) -> None:
    """Import the modules that hold the fixtures, but not where tests are only spread."""
    if config.option.dist == "no" or config.option.collectonly:
        for module in _FIXTURES:
            config.pluginmanager.import_plugin(module)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is collected from the garbage collector, which would look through it all day."""
    result = yield
    gc.collect()
    gc.freeze()
    # An eighth of the time that it takes at 700: by then most of what a request makes is gone.
    gc.enable()
    return result


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Scheduling:
    """Spread files, not single tests: fixtures of a module are made once."""
    return _Scheduling(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores: many tests wait for other processes."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long files first: one that is begun last would run alone at the end."""
    root = config.rootpath / "tests"

    @cache
    def priority(path: Path) -> int:
        path = path.relative_to(root)
        return next((n for n, long in enumerate(_LONG) if path.is_relative_to(long)), len(_LONG))

    items.sort(key=lambda item: priority(item.path))
