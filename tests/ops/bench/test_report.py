from __future__ import annotations

from dataclasses import replace

import pytest

from automatch.ops.bench.report import Feeds, Report, Step, Times
from automatch.ops.bench.usage import Usage

_USAGE = Usage(10, {"server": 2.0, "worker": 15.0, "database": 1.0, "benchmark": 1.0}, 0.97, 0.01)
_CARRIED = Step(2, 20, {}, Times(8, 20), Times(300, 900), 2.0, True, {"worker": 700.0}, _USAGE)
_FAILED = replace(_CARRIED, rate=4, carried=False)


def _report(*steps: Step) -> Report:
    return Report("a machine", 2, 200, Feeds(400, 65536, 4096, "connections"), list(steps))


def test_carried_is_the_highest_rate_that_was_kept_up_with() -> None:
    slower = replace(_CARRIED, rate=1)

    report = _report(slower, _CARRIED, _FAILED, replace(_FAILED, rate=3))

    assert report.uploads_a_minute == 120
    assert report.sentence.startswith(
        "This machine carries about 120 uploads a minute and about 4096 open feeds."
    )


def test_rate_that_nothing_stopped_is_a_least() -> None:
    report = _report(_CARRIED)

    assert "carries at least 120 uploads" in report.sentence
    assert "nothing yet" in report.limited_by


def test_machine_that_carries_no_rate_is_told_by_what_it_did() -> None:
    assert _report(replace(_FAILED, jobs_per_s=0.25)).uploads_a_minute == 15


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (_USAGE, "the processor: of 2 cores server 0.2, worker 1.5"),
        (replace(_USAGE, cpu_s=dict.fromkeys(_USAGE.cpu_s, 1.0)), "other programs, which took 1.5"),
        (replace(_USAGE, busy=0.4), "start another one"),
        (replace(_USAGE, busy=0.4, waiting_for_disk=0.4), "the disk"),
    ],
)
def test_limit_is_what_was_used_up_first(usage: Usage, said: str) -> None:
    later = replace(_FAILED, rate=8, usage=replace(_USAGE, waiting_for_disk=0.9))

    assert said in _report(_CARRIED, replace(_FAILED, usage=usage), later).limited_by


def test_percentiles_are_of_what_was_measured() -> None:
    assert Times.of([float(n) for n in range(1, 101)]) == Times(50.5, 96)
    assert Times.of([7.0]) == Times(7, 7)
    assert Times.of([]) is None
