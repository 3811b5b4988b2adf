"""The simulated day and the formula that it checks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.growth.simulation import (
    DAY_S,
    busiest_p95_s,
    day_shape,
    simulate,
    waiting_s,
)


@pytest.mark.parametrize("peak", [1.5, 4, 12])
def test_day_has_its_peak_and_a_mean_of_one(peak: float) -> None:
    shape = day_shape(peak)
    rates = [shape(at) for at in np.linspace(0, DAY_S, 10_000, endpoint=False)]

    assert max(rates) == pytest.approx(peak, rel=0.001)
    assert np.mean(rates) == pytest.approx(1, rel=0.001)


@pytest.mark.parametrize("servers", [1, 2, 8, 40])
@pytest.mark.parametrize("busy", [0.6, 0.8])
def test_formula_agrees_with_the_simulation(servers: int, busy: float) -> None:
    mean_s, cv, rate = 0.1, 0.5, busy * servers / 0.1
    waits = [
        waited
        for _, waited in simulate(
            lambda _: rate, rate, 20_000 / rate, servers=servers, mean_s=mean_s, cv=cv, seed=1
        )
    ]

    promised = waiting_s(rate, servers, mean_s, cv)
    # The formula is an approximation: within a fifth, and within a tenth of a photo.
    assert np.percentile(waits, 95) == pytest.approx(promised, rel=0.2, abs=0.1 * mean_s)


def test_single_server_is_the_textbook_case() -> None:
    """M/M/1 at half load: P(wait > t) = 0.5 exp(-t / 2) with a mean of one."""
    assert waiting_s(0.5, 1, 1, cv=1) == pytest.approx(2 * math.log(0.5 / 0.05))


def test_wait_has_no_end_where_more_comes_than_goes() -> None:
    assert waiting_s(10, 1, 0.1, 0.5) == math.inf
    assert waiting_s(0.001, 4, 0.1, 0.5) == 0


def test_same_seed_is_the_same_day() -> None:
    one, same, other = (
        busiest_p95_s(5_000, peak=4, servers=1, mean_s=2, cv=0.5, seed=seed) for seed in (1, 1, 2)
    )

    assert one == same != other


def test_backlog_of_an_evening_that_is_too_full_is_seen() -> None:
    def wait(mean_s: float) -> float:
        return busiest_p95_s(5_000, peak=4, servers=1, mean_s=4 * mean_s, cv=0.5)

    # At the peak 0.93 come in four seconds.
    assert wait(0.5) < 20
    assert wait(1.5) > 600


def test_uploads_come_when_the_day_says() -> None:
    shape = day_shape(4)
    rate = 5_000 / DAY_S
    came = [
        at
        for at, _ in simulate(
            lambda at: rate * shape(at), 4 * rate, DAY_S, servers=1, mean_s=0, cv=0, seed=0
        )
    ]

    assert len(came) == pytest.approx(5_000, rel=0.05)
    evening = sum(18 * 3600 < at < 22 * 3600 for at in came)
    assert evening > 0.5 * len(came)


def test_nobody_waits_for_a_worker_that_rests() -> None:
    waits = dict(simulate(lambda _: 1, 1, 1_000, servers=100, mean_s=0.1, cv=0, seed=0))

    assert waits
    assert set(waits.values()) == {0.0}
