"""Times that are kept as counts of steps."""

from __future__ import annotations

import pytest

from automatch.model.history import PARTS, Stage, StageTimes

# Up to 16 ms (4 * 2 = 8 half powers of two) and up to 64 ms.
SOME = StageTimes(200.0, {8: 3, 12: 1})


def test_mean_is_exact_and_percentiles_lie_in_the_step_of_their_job() -> None:
    assert (SOME.jobs, SOME.mean_ms) == (4, 50)
    # Two thirds of the way through the step of the first three.
    assert SOME.percentile_ms(0.5) == pytest.approx(2**3.5 + (16 - 2**3.5) * 2 / 3)
    assert 2**5.5 < (SOME.percentile_ms(0.95) or 0) <= 64
    assert SOME.percentile_ms(1) == 64
    assert StageTimes(0.5, {0: 1}).percentile_ms(0.5) == pytest.approx(0.5)


def test_nothing_has_no_times() -> None:
    nothing = StageTimes.merged([])

    assert (nothing.jobs, nothing.mean_ms, nothing.percentile_ms(0.5)) == (0, None, None)


def test_times_of_two_servers_or_hours_add_up() -> None:
    both = StageTimes.merged([SOME, StageTimes(100.0, {8: 1, 13: 2})])

    assert both == StageTimes(300.0, {8: 4, 12: 1, 13: 2})


def test_parts_end_with_the_open_page() -> None:
    assert (PARTS[0], PARTS[-1]) == (Stage.WAIT, Stage.DELIVER)
