"""Faults in three sizes: short ones in every run; `--faults medium` and `long` take minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from automatch.settings.worker import WorkerSettings
from tests.support.build import connect
from tests.support.postgres import Database
from tests.support.recovery import Recovery

_SHORT_TEST_S = 300
_LONG_TEST_S = 1800


@dataclass(frozen=True)
class Size:
    """How much of each fault there is."""

    jobs: int
    kills: int
    freezes: int
    frozen_s: float
    """Least time that a worker stands still."""
    restarts: int
    cuts: int
    photos: int
    mixed_photos: int
    """Photos looked at one after the other while memory is watched."""
    lease_s: float
    heartbeat_s: float
    sweep_s: float
    slack_s: float
    """Tolerance for a busy machine."""

    @property
    def lease(self) -> dict[str, float]:
        """The settings of a worker that decide how soon a lost job comes back."""
        return {
            "lease_s": self.lease_s,
            "heartbeat_s": self.heartbeat_s,
            "sweep_s": self.sweep_s,
        }

    @property
    def lease_of_process(self) -> dict[str, float]:
        """The same for a process."""
        return {f"worker__{name}": value for name, value in self.lease.items()}

    @property
    def recovery_s(self) -> float:
        """The promise: a job of a worker that died waits again after this at the latest."""
        return self.lease_s + self.sweep_s


_DEFAULTS = WorkerSettings()
SIZES = {
    "short": Size(
        jobs=240,
        kills=1,
        freezes=1,
        frozen_s=0,
        restarts=2,
        cuts=3,
        photos=6,
        mixed_photos=64,
        # Not shorter: a machine that runs other tests beside this one is slow to renew.
        lease_s=4,
        heartbeat_s=1,
        sweep_s=0.3,
        slack_s=60,
    ),
    "medium": Size(
        jobs=3_000,
        kills=8,
        freezes=2,
        frozen_s=45,
        restarts=5,
        cuts=20,
        photos=10,
        mixed_photos=500,
        lease_s=_DEFAULTS.lease_s,
        heartbeat_s=_DEFAULTS.heartbeat_s,
        sweep_s=_DEFAULTS.sweep_s,
        slack_s=5,
    ),
    "long": Size(
        jobs=10_000,
        kills=40,
        freezes=5,
        frozen_s=60,
        restarts=10,
        cuts=60,
        photos=40,
        mixed_photos=2_000,
        lease_s=_DEFAULTS.lease_s,
        heartbeat_s=_DEFAULTS.heartbeat_s,
        sweep_s=_DEFAULTS.sweep_s,
        slack_s=5,
    ),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults", choices=sorted(SIZES), default="short", help="How long faults are tried for."
    )


def _size(config: pytest.Config) -> str:
    # Unknown when pytest was started above this folder, where the short form is meant.
    return str(config.getoption("--faults", default="short"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    limit_s = _SHORT_TEST_S if _size(config) == "short" else _LONG_TEST_S
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.timeout(limit_s))


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Size:
    """Give the size that this run asks for."""
    return SIZES[_size(request.config)]


class Figures:
    """What a test has tried, for the table of benchmarks/reliability.py."""

    def __init__(self, node: pytest.Item) -> None:
        self._node = node

    def note(
        self, fault: str, times: int, steps: Counter[str], recovery: Recovery | None = None
    ) -> None:
        """Note what was done how often to how many jobs, once the invariants were checked."""
        self._node.user_properties.append(
            (
                "figures",
                {
                    "fault": fault,
                    "times": times,
                    "jobs": steps["queued"],
                    "restarted": steps["claimed"] - steps["queued"],
                    "requeued_s": list(recovery.requeued_s) if recovery else [],
                    "claimed_again_s": list(recovery.claimed_again_s) if recovery else [],
                },
            )
        )

    def note_outage(self, cause: str, seconds: Mapping[str, float]) -> None:
        """Note how long after a replica was told to take over what went on again."""
        self._node.user_properties.append(("outage", {"cause": cause, "seconds": dict(seconds)}))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Give where to note what was tried."""
    return Figures(request.node)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give the data folder of the workers."""
    return tmp_path / "home"


@pytest.fixture
def owner(database: Database) -> Iterator[psycopg.Connection]:
    """Give a connection of the owner to the test's own database."""
    with connect(database.owner) as conn:
        yield conn
