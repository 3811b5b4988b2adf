"""Faults in two sizes: short ones that are part of every run, and long ones (`--long`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.support.build import connect
from tests.support.postgres import Database

_LONG_TEST_S = 900


@dataclass(frozen=True)
class Size:
    """How much of each fault there is."""

    is_long: bool
    jobs: int
    kills: int
    frozen_s: float
    """Least time that a worker stands still."""
    restarts: int
    cuts: int
    photos: int
    lease_s: float
    heartbeat_s: float
    sweep_s: float

    @property
    def lease(self) -> dict[str, float]:
        """The settings of a worker that decide how soon a lost job comes back."""
        return {
            "worker__lease_s": self.lease_s,
            "worker__heartbeat_s": self.heartbeat_s,
            "worker__sweep_s": self.sweep_s,
        }

    @property
    def recovery_s(self) -> float:
        """The promise: a job of a worker that died waits again after this at the latest."""
        return self.lease_s + self.sweep_s


SHORT = Size(
    is_long=False,
    jobs=1_000,
    kills=5,
    frozen_s=0,
    restarts=3,
    cuts=12,
    photos=6,
    lease_s=4,
    heartbeat_s=1,
    sweep_s=0.5,
)
LONG = Size(
    is_long=True,
    jobs=10_000,
    kills=40,
    frozen_s=60,
    restarts=10,
    cuts=60,
    photos=60,
    # What the settings are when nobody sets them.
    lease_s=30,
    heartbeat_s=10,
    sweep_s=5,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="Try faults for minutes, not seconds.")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long", default=False):
        for item in items:
            item.add_marker(pytest.mark.timeout(_LONG_TEST_S))


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Size:
    """Give the size that this run asks for."""
    # Unknown when pytest was started above this folder, where the short form is meant.
    return LONG if request.config.getoption("--long", default=False) else SHORT


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give the data folder of the workers."""
    return tmp_path / "home"


@pytest.fixture
def owner(database: Database) -> Iterator[psycopg.Connection]:
    """Give a connection of the owner to the test's own database."""
    with connect(database.owner) as conn:
        yield conn
