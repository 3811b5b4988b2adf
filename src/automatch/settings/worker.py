"""Settings of workers."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from automatch.settings.group import SettingsGroup


class WorkerSettings(SettingsGroup):
    """How jobs are claimed, run and retried."""

    concurrency: int = Field(2, ge=1, le=16, description="Batches that one worker runs at a time.")
    batch: int = Field(100, ge=1, le=500, description="Maximum number of jobs in a batch.")
    batch_s: float = Field(
        0.2, gt=0, description="Seconds that a batch should take, judged by the last jobs."
    )
    search_cache_mb: int = Field(
        256,
        ge=0,
        description="Memory in MiB for the groups that batches of jobs search; with 0 the database "
        "makes every search.",
    )
    poll_s: float = Field(5, gt=0, description="Seconds between two polls without a notification.")
    lease_s: float = Field(
        30, gt=0, description="Seconds after which a lease that is not renewed expires."
    )
    heartbeat_s: float = Field(10, gt=0, description="Seconds between two renewals of a lease.")
    sweep_s: float = Field(5, gt=0, description="Seconds between two searches for expired leases.")
    job_timeout_s: float = Field(
        60,
        gt=0,
        description="Seconds that the analysis of a photo may take before the job is retried.",
    )
    backoff_s: float = Field(
        2, gt=0, description="Seconds before the first retry; each further delay is doubled."
    )
    backoff_max_s: float = Field(600, gt=0, description="Longest delay before a retry in seconds.")
    outage_pause_max_s: float = Field(
        30,
        gt=0,
        description="Longest pause in seconds while the database, a disk or the AI service fails.",
    )
    health_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port on which a worker answers `/healthz` and `/readyz`, at `AUTOMATCH_HOST`; "
        "0 picks a free one. Unset, it listens nowhere.",
    )
    shutdown_timeout_s: float = Field(
        10,
        gt=0,
        description="Seconds in which a worker stops (at least 5): 70 % to finish its jobs, the "
        "rest to release the others.",
    )

    @property
    def finish_s(self) -> float:
        """Seconds in which a worker that stops may finish its jobs."""
        return 0.7 * self.shutdown_timeout_s

    @property
    def stop_limit_s(self) -> float:
        """Seconds in which all of a worker's process has stopped."""
        return max(self.shutdown_timeout_s, 5)

    @model_validator(mode="after")
    def _lease_outlives_heartbeat(self) -> Self:
        if self.lease_s < 2 * self.heartbeat_s:
            raise ValueError("worker.lease_s must be at least twice worker.heartbeat_s")
        return self
