"""What a worker tells of its jobs: counters, histograms, and the spans of their traces."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from automatch.errors import AutomatchError
from automatch.model.jobs import ClaimedJob
from automatch.store.queue.queue import JobFailure
from automatch.telemetry.metrics import WorkerMetrics, bucket_of_group
from automatch.telemetry.traces import Span, Traces, job_key


class JobObserver:
    """Is told what becomes of the jobs of one worker."""

    def __init__(self, metrics: WorkerMetrics | None = None, traces: Traces | None = None) -> None:
        self.metrics = metrics or WorkerMetrics()
        self._traces = traces

    def claimed(self, jobs: Sequence[ClaimedJob]) -> None:
        self.metrics.claimed.inc(len(jobs))

    def analyzed(self, job: ClaimedJob, timings_ms: Mapping[str, float], began: float) -> None:
        """Note what a photo took, whose analysis began then (`time.monotonic`)."""
        self._record("analyze", job, began)
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
        for job in jobs:
            self._record("search", job, began)

    def completed(self, job: ClaimedJob, matches: int | None) -> None:
        """Note that a job is completed; None matches where its photo waits for a decision."""
        self.metrics.completed.inc()
        self.metrics.matches.inc(matches or 0)
        self.metrics.jobs.observe(job.age_s + time.monotonic() - job.claimed_at)
        self._record_job(job, matches=matches or 0)

    def failed(self, failure: JobFailure) -> None:
        self.metrics.failures.labels(failure.code, failure.action.value).inc()
        self._record_job(failure.job, error=failure.code, action=failure.action.value)

    def lost(self) -> None:
        self.metrics.lost.inc()

    def paused(self, error: AutomatchError) -> None:
        self.metrics.pauses.labels(error.code).inc()

    def _record(self, name: str, job: ClaimedJob, began: float) -> None:
        if self._traces is not None and job.request_id is not None:
            key = job_key(job.id, job.attempts)
            self._traces.record(Span(name, job.request_id, began, parent=key))

    def _record_job(self, job: ClaimedJob, **attributes: str | int) -> None:
        if self._traces is not None and job.request_id is not None:
            self._traces.record(
                Span(
                    "job",
                    job.request_id,
                    job.claimed_at,
                    key=job_key(job.id, job.attempts),
                    attributes={"job": str(job.id), "attempt": job.attempts, **attributes},
                )
            )
