"""What came of a benchmark, and the sentence that sums it up."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from automatch.ops.bench.usage import Usage

_BUSY = 0.85
_WAITS_FOR_DISK = 0.2
_OTHERS = 0.4
"""What other programs may take of the processors, before they are what limits."""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds that half of the uploads, and 95 of 100, took at most."""

    p50: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Times | None:
        """Return those of some values; None without any."""
        if not values:
            return None
        ordered = sorted(values)
        return cls(
            round(statistics.median(ordered), 1),
            round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 1),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One rate of uploads."""

    rate: float
    """Uploads a second."""
    uploads: int
    refused: dict[str, int]
    answer_ms: Times | None
    screen_ms: Times | None
    """From the answer to the open page of somebody who looks alike."""
    jobs_per_s: float
    carried: bool
    cpu_ms_per_photo: dict[str, float]
    """Processor time of each part, until the last of the uploads was done."""
    usage: Usage
    """While uploads were sent."""


@dataclass(frozen=True, slots=True)
class Feeds:
    """The feeds that were open all the time, and how many there could be."""

    opened: int
    bytes_each: int
    possible: int
    limited_by: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    machine: str
    cores: int
    people: int
    feeds: Feeds
    steps: list[Step]

    @property
    def best(self) -> Step | None:
        """The highest rate that was carried."""
        return max((step for step in self.steps if step.carried), key=_rate, default=None)

    @property
    def uploads_a_minute(self) -> int:
        """The highest rate that was carried; where none was, what was done in a minute anyway."""
        rates = [self.best.rate] if self.best else [step.jobs_per_s for step in self.steps]
        return round(60 * max(rates))

    @property
    def is_limit(self) -> bool:
        """Whether a higher rate was tried and not carried."""
        return any(not step.carried for step in self.steps)

    @property
    def limited_by(self) -> str:
        """What kept more from being carried."""
        failed = [step for step in self.steps if not step.carried]
        if not failed:
            return "nothing yet: no rate that was tried was too high"
        usage = min(failed, key=_rate).usage
        if usage.waiting_for_disk >= _WAITS_FOR_DISK:
            return "the disk"
        shares = [(part, usage.cores(part)) for part in usage.cpu_s]
        told = ", ".join(f"{part} {cores:.1f}" for part, cores in shares)
        if usage.busy < _BUSY:
            return f"the worker, while the processor rests ({told} cores): start another one"
        others = max(usage.busy * self.cores - sum(cores for _, cores in shares), 0.0)
        if others > self.cores * _OTHERS:
            return (
                f"other programs, which took {others:.1f} of {self.cores} cores; "
                "measure again when they rest"
            )
        return f"the processor: of {self.cores} cores {told}, other programs {others:.1f}"

    @property
    def sentence(self) -> str:
        """Sum up what the machine carries."""
        least = "" if self.is_limit else "at least "
        return (
            f"This machine carries {least or 'about '}{self.uploads_a_minute} uploads a minute and "
            f"about {self.feeds.possible} open feeds. Uploads are limited by {self.limited_by}; "
            f"feeds by {self.feeds.limited_by}."
        )


def _rate(step: Step) -> float:
    return step.rate
