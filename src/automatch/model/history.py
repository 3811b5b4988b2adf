"""What happened in steps of time: counts, and how long each stage of the jobs took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self


class Stage(StrEnum):
    """A part of the way from the upload to the screen, in order; the last three are no parts."""

    WAIT = "wait"
    """Until a worker claimed the job."""
    DECODE = "decode"
    DETECT = "detect"
    EMBED = "embed"
    STORE = "store"
    """The rest until the embedding was stored: fetching the photo, waiting for a free thread."""
    SEARCH = "search"
    PUBLISH = "publish"
    """Until matches and feeds were committed."""
    DELIVER = "deliver"
    """Until the first match was written to the uploader's open page."""
    DELIVER_TO_OTHERS = "deliver_to_others"
    """The same for each of the people who were found."""
    TO_END = "to_end"
    """From the upload until the job was completed."""
    TO_SCREEN = "to_screen"
    """From the upload to the first match on the uploader's open page."""


PARTS = tuple(Stage)[: tuple(Stage).index(Stage.DELIVER) + 1]
"""The stages that follow each other: their means add up to the whole way."""


@dataclass(frozen=True, slots=True)
class StageTimes:
    """How long a stage took, in milliseconds."""

    total_ms: float
    counts: Mapping[int, int]
    """How many took up to 2^(n/2) ms, and longer than n - 1 stands for."""

    @classmethod
    def merged(cls, some: Iterable[StageTimes]) -> Self:
        """Return the times of all of them."""
        total_ms = 0.0
        counts: Counter[int] = Counter()
        for each in some:
            total_ms += each.total_ms
            counts.update(each.counts)
        return cls(total_ms, counts)

    @property
    def jobs(self) -> int:
        return sum(self.counts.values())

    @property
    def mean_ms(self) -> float | None:
        return self.total_ms / self.jobs if self.jobs else None

    def percentile_ms(self, share: float) -> float | None:
        """Return what that share of the jobs took at most, estimated within a step; or None."""
        rank = share * self.jobs
        passed = 0
        for step, count in sorted(self.counts.items()):
            if passed + count >= rank > 0:
                lowest = 2 ** ((step - 1) / 2) if step else 0.0
                return float(lowest + (2 ** (step / 2) - lowest) * (rank - passed) / count)
            passed += count
        return None


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """A step of time. Nobody is named in it."""

    starts_at: datetime
    queued: int
    completed: int
    """Each of them has searched once."""
    background: int
    """Of the completed, those that nobody waited for; the stages are without them."""
    matches: int
    seen_later: int
    """People whose page was not open when a match was made, and who saw it later."""
    failures: Mapping[str, int]
    """By error code; `automatch.errors.cause` says whose matter each is."""
    stages: Mapping[Stage, StageTimes]
    """Without those that nothing went through."""
    open_jobs: int
    """The most that were pending or processing at the end of five minutes."""
    oldest_s: float | None
    """The highest age of one of them."""
    refusals: Mapping[str, int] = field(default_factory=dict)
    """Uploads that were refused before they made a job, like `failures`."""
