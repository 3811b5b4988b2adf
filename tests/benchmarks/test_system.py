"""What the benchmark of the system says about its figures, and how it shows them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automatch.ops.bench.usage import Usage
from benchmarks.feed_load import Times
from benchmarks.queue.report import PAGE
from benchmarks.system.report import draw_grid, draw_soak, soak_text, trials_text
from benchmarks.system.soak import Series, Soak
from benchmarks.system.trial import Trial
from benchmarks.system.verdict import is_flat, rise, saturated

_USAGE = Usage(10, {"server": 2.0, "worker": 15.0, "database": 1.0, "benchmark": 1.0}, 0.97, 0.01)
_IDLE = replace(_USAGE, cpu_s=dict.fromkeys(_USAGE.cpu_s, 1.0), busy=0.4)


@pytest.mark.parametrize(
    ("usage", "waiting", "said"),
    [
        (_USAGE, 0, "processors (most of it worker, 1.5 of 2)"),
        (_USAGE, 9, "processors (most of it worker, 1.5 of 2), backlog grows"),
        (replace(_IDLE, busy=0.95), 0, "other programs (1.5 cores)"),
        (replace(_IDLE, waiting_for_disk=0.3), 0, "disk"),
        (
            replace(_IDLE, cpu_s=_IDLE.cpu_s | {"server": 9.5}),
            0,
            "server (its processes have one core each)",
        ),
        (replace(_IDLE, cpu_s=_IDLE.cpu_s | {"benchmark": 9.5}), 0, "generator (it has one core)"),
        (_IDLE, 9, "worker, while processors rest, backlog grows"),
        (_IDLE, 3, "nothing"),
    ],
)
def test_what_saturates_is_said_by_a_rule(usage: Usage, waiting: int, said: str) -> None:
    assert saturated(usage, cores=2, server_processes=1, waiting=waiting, rate=2) == said


def test_server_of_two_processes_may_use_two_cores() -> None:
    usage = replace(_IDLE, cpu_s=_IDLE.cpu_s | {"server": 9.5})

    assert saturated(usage, cores=4, server_processes=2, waiting=0, rate=2) == "nothing"


def _noise(count: int, level: float, size: float) -> np.ndarray:
    return level + np.random.default_rng(0).normal(0, size, count)


def test_leak_is_not_flat_and_noise_is() -> None:
    minutes = np.linspace(0, 30, 60)
    noise = _noise(60, 200, 3)

    assert is_flat(minutes, noise, 4)
    assert not is_flat(minutes, noise + minutes, 4)
    assert is_flat(minutes, noise - minutes, 4)


def test_warming_up_is_no_leak() -> None:
    minutes = np.linspace(0, 30, 60)
    warming = np.where(minutes < 5, 100 + 20 * minutes, 200)

    assert is_flat(minutes, warming, 4)


def test_one_sample_that_is_far_off_is_no_leak() -> None:
    minutes = np.linspace(0, 30, 60)
    values = np.full(60, 200.0)
    values[-1] = 2_000

    assert is_flat(minutes, values, 4)


@settings(max_examples=20)
@given(slope=st.floats(-10, 10), level=st.floats(0, 1_000))
def test_rise_is_that_of_what_was_watched(slope: float, level: float) -> None:
    minutes = np.linspace(0, 30, 31)

    assert rise(minutes, level + slope * minutes) == pytest.approx(slope * 24, abs=1e-6)


def test_single_sample_says_nothing() -> None:
    assert math.isnan(rise([1], [5]))
    assert not is_flat([1], [5], 4)


_TRIAL = Trial(
    part="grid",
    feeds=100,
    rate=2,
    seconds=60.0,
    people=1_000,
    faces=1_000,
    load_before=0.2,
    uploads=120,
    refused={},
    answer_ms=Times(20, 30, 40),
    screen_ms=Times(120, 180, 260),
    told=2_400,
    commit_ms=Times(30, 50, 60),
    cores={"server": 0.1, "worker": 0.4, "database": 0.1, "benchmark": 0.05},
    busy=0.4,
    waiting_for_disk=0.0,
    waiting=1,
    drained_s=0.2,
    cpu_ms_per_upload={"server": 10.0, "worker": 90.0, "database": 10.0, "benchmark": 5.0},
    counted_s=62.0,
    wal_bytes_per_upload=30_000,
    memory_mib={"server": 120.0, "worker": 400.0, "database": 90.0, "generator": 80.0},
    files={"server": 400, "worker": 60, "database": 300, "generator": 300},
    connections=12,
    saturated="nothing",
)
_SOAK = Soak(
    feeds=100,
    rate=2,
    uploads=3_600,
    refused=0,
    unfinished=False,
    minutes=[0.0, 15.0, 30.0],
    series=[
        Series("memory, server", "MiB", [100.0, 120.0, 121.0], 1.0, True),
        Series("files, worker", "", [60.0, 60.0, 90.0], 30.0, False),
        Series("connections", "", [12.0, 12.0, 12.0], 0.0, True),
    ],
    screen_ms={"first fifth": Times(100, 150, 200), "last fifth": None},
)


def test_trials_are_shown_with_what_was_not_measured() -> None:
    lost = replace(_TRIAL, screen_ms=None, refused={"rate_limited": 3})

    text = trials_text([_TRIAL, lost], "a machine")

    assert "| 20 / 30 / 40 | 120 / 180 / 260 | 30 / 50 / 60 |" in text
    assert "nothing; 3 refused" in text


def test_soak_says_what_is_not_flat() -> None:
    text = soak_text(_SOAK, "a machine")

    assert "| memory, server | 100 MiB | 121 MiB | +1.0 MiB | yes |" in text
    assert "| files, worker | 60 | 90 | +30.0 | **no** |" in text
    assert not _SOAK.flat


def test_pictures_can_be_drawn_without_some_figures(tmp_path: Path) -> None:
    trials = [_TRIAL, replace(_TRIAL, feeds=0, screen_ms=None), replace(_TRIAL, rate=5)]

    addresses = [draw_grid(trials, tmp_path / "grid.svg"), draw_soak(_SOAK, tmp_path / "soak.svg")]

    assert addresses == ["images/grid.svg", "images/soak.svg"]
    grid = (tmp_path / "grid.svg").read_text()
    assert "<!-- 100 feeds -->" in grid
    assert "<!-- 0 feeds -->" not in grid
    for path in tmp_path.iterdir():
        text = path.read_text()
        assert text.startswith("<?xml")
        # Or the same figures would make another picture.
        assert "<dc:date>" not in text


@pytest.mark.parametrize("part", ["grid", "schools", "faces", "soak"])
def test_page_has_a_place_for_each_part(part: str) -> None:
    page = PAGE.read_text("utf-8")

    assert f"<!-- system-{part}: begin -->" in page
    assert f"<!-- system-{part}: end -->" in page
