"""What to do with a job that failed, and whether the worker can go on with others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeGuard

import structlog

from automatch.errors import AutomatchError
from automatch.errors.embedder import (
    AiUnavailableError,
    EmbedderError,
    ModelDamagedError,
    ModelMissingError,
)
from automatch.errors.job import JobCrashedError, PhotoMissingError
from automatch.errors.store import (
    DatabaseUnavailableError,
    InstallationError,
    MachineAwayError,
    PhotoStorageError,
    StorageFullError,
)
from automatch.model.jobs import ClaimedJob
from automatch.settings.worker import WorkerSettings
from automatch.store.queue.queue import FailureAction, JobFailure

_INFRASTRUCTURE_ERRORS = (
    DatabaseUnavailableError,
    StorageFullError,
    PhotoStorageError,
    AiUnavailableError,
    InstallationError,
    ModelMissingError,
    ModelDamagedError,
)
"""Not caused by the job, so they cost it no attempt."""

log = structlog.get_logger(__name__)


def classify_failure(job: ClaimedJob, exc: BaseException) -> JobFailure:
    """Return what went wrong, worded for the owner of the photo; log what they must not read."""
    logger = log.bind(**job.log_fields, attempt=job.attempts)
    if isinstance(exc, AutomatchError):
        error = exc
    elif isinstance(exc, TimeoutError):
        error = JobCrashedError("Looking at the photo took too long.")
    else:
        # The log keeps only the type and place of the exception: see cli/runtime/logs.py.
        logger.error("job crashed", exc_info=exc)
        error = JobCrashedError()
    # The message of a model error names files of this machine.
    message = JobCrashedError().message if isinstance(error, EmbedderError) else error.message
    logger.info("job not completed", code=error.code, transient=error.transient)
    return JobFailure(job, error, message, _action_for(error))


def pauses_worker(error: BaseException) -> TypeGuard[AutomatchError]:
    """Return whether no other job could go on either."""
    # With a machine away, there are jobs of schools on other machines.
    return isinstance(error, _INFRASTRUCTURE_ERRORS) and not isinstance(error, MachineAwayError)


def release_delay_s(failures: Iterable[JobFailure], settings: WorkerSettings) -> float:
    """Return how long jobs that are released wait before they are tried again."""
    # The worker goes on meanwhile, so that no pause of its own holds them back.
    if any(isinstance(failure.error, MachineAwayError) for failure in failures):
        return settings.outage_pause_max_s
    return settings.backoff_s


def _action_for(error: AutomatchError) -> FailureAction:
    if isinstance(error, _INFRASTRUCTURE_ERRORS):
        return FailureAction.RELEASE
    # A missing file is looked for by other workers too.
    is_retried = error.transient or isinstance(error, PhotoMissingError)
    return FailureAction.RETRY if is_retried else FailureAction.FAIL
