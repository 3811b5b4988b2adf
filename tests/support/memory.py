"""Returns freed memory to the system, after the tests are collected and after each module.

The C library keeps what photos, models and threads have freed; over the whole suite that came to
more than a gigabyte in each process of the tests.
"""

from __future__ import annotations

import ctypes
import sys

import pytest


def pytest_collection_finish() -> None:
    """Trim the heap when all modules are imported: some made photos at that."""
    _trim()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Trim the heap when the tests of a module have ended."""
    if nextitem is None or nextitem.path != item.path:
        _trim()


def _trim() -> None:
    # Only glibc has it.
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
