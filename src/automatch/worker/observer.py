"""What a worker tells of its jobs: counters, histograms, and the spans of their traces."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from automatch.errors import AutomatchError
from automatch.model.jobs import ClaimedJob
from automatch.store.queue import JobFailure
from automatch.telemetry.metrics import WorkerMetrics, bucket_of_group


class JobObserver:
    """Is told what becomes of the jobs of one worker."""

    def __init__(self, metrics: WorkerMetrics | None = None) -> None:
        self.metrics = metrics or WorkerMetrics()

    def claimed(self, jobs: Sequence[ClaimedJob]) -> None:
        self.metrics.claimed.inc(len(jobs))

    def analyzed(self, timings_ms: Mapping[str, float]) -> None:
        """Note what a photo took."""
        for stage, ms in timings_ms.items():
            self.metrics.stages.labels(stage).observe(ms / 1000)

    def searched(self, people: int, seconds: float) -> None:
        """Note a search in memory."""
        self.metrics.searches.labels(bucket_of_group(people)).observe(seconds)

    @contextmanager
    def searching(self, jobs: Sequence[ClaimedJob]) -> Iterator[None]:
        """Time the search for jobs together and the writing of what it found, unless it fails."""
        began = time.monotonic()
        yield
        if jobs:
            self.metrics.stages.labels("search").observe(time.monotonic() - began)

    def completed(self, job: ClaimedJob, matches: int | None) -> None:
        """Note that a job is completed; None matches where its photo waits for a decision."""
        self.metrics.completed.inc()
        self.metrics.matches.inc(matches or 0)
        self.metrics.jobs.observe(job.age_s + time.monotonic() - job.claimed_at)

    def failed(self, failure: JobFailure) -> None:
        self.metrics.failures.labels(failure.code, failure.action.value).inc()

    def lost(self) -> None:
        self.metrics.lost.inc()

    def paused(self, error: AutomatchError) -> None:
        self.metrics.pauses.labels(error.code).inc()
