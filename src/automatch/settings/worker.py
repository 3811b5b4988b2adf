"""Settings of workers."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from automatch.settings.group import SettingsGroup


class WorkerSettings(SettingsGroup):
    """How jobs are claimed, kept and tried again."""

    concurrency: int = Field(2, ge=1, le=16, description="Batches of jobs worked on side by side.")
    batch: int = Field(100, ge=1, le=500, description="Jobs claimed at once, at most.")
    batch_s: float = Field(
        0.2, gt=0, description="Seconds of work claimed at once, judged by the jobs before."
    )
    search_cache_mb: int = Field(
        256,
        ge=0,
        description="Memory in MiB for copies of the groups that batches of jobs look through; "
        "0 leaves every search to the database.",
    )
    poll_s: float = Field(5, gt=0, description="Seconds between looks when no wake-up comes.")
    lease_s: float = Field(30, gt=0, description="A claim that is not renewed for so long is lost.")
    heartbeat_s: float = Field(10, gt=0, description="Seconds between renewals of a claim.")
    sweep_s: float = Field(5, gt=0, description="Seconds between looks for lost claims.")
    job_timeout_s: float = Field(60, gt=0, description="A job running longer than this is retried.")
    backoff_s: float = Field(2, gt=0, description="Delay before the first retry; then it doubles.")
    backoff_max_s: float = Field(600, gt=0, description="Longest delay before a retry.")
    outage_pause_max_s: float = Field(
        30, gt=0, description="Longest pause when the database or the disk is in trouble."
    )
    shutdown_timeout_s: float = Field(
        10, gt=0, description="Seconds to finish what is held when stopping."
    )

    @model_validator(mode="after")
    def _lease_outlives_heartbeat(self) -> Self:
        if self.lease_s < 2 * self.heartbeat_s:
            raise ValueError("worker.lease_s must be at least twice worker.heartbeat_s")
        return self
