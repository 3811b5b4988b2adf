"""What becomes of a job that did not work out.

Failed for good, tried again later, or given back without costing an attempt because the machine is
in trouble and not the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from automatch.errors import AutomatchError
from automatch.errors.embedder import AiUnavailableError, EmbedderError
from automatch.errors.job import JobCrashedError
from automatch.errors.store import DatabaseUnavailableError, PhotoStorageError, StorageFullError
from automatch.model.jobs import ClaimedJob
from automatch.store.queue import Refusal

MACHINE_TROUBLE = (
    DatabaseUnavailableError,
    StorageFullError,
    PhotoStorageError,
    AiUnavailableError,
)
"""Not the job's fault: it costs no attempt."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Refusals:
    """Jobs that did not work out, by what is to be done."""

    fail: Sequence[Refusal]
    retry: Sequence[Refusal]
    release: Sequence[ClaimedJob]


def refusal_of(job: ClaimedJob, exc: BaseException) -> Refusal:
    """Return what went wrong as its owner may read it, and log what they may not."""
    logger = log.bind(job=str(job.id), attempt=job.attempts)
    if isinstance(exc, AutomatchError):
        error = exc
    elif isinstance(exc, TimeoutError):
        error = JobCrashedError("Looking at the photo took too long.")
    else:
        # What the log keeps of it is its kind and place: see cli/logs.py.
        logger.error("job crashed", exc_info=exc)
        error = JobCrashedError()
    # What is wrong with a model names files of this machine.
    message = JobCrashedError().message if isinstance(error, EmbedderError) else error.message
    logger.info("job not completed", code=error.code, transient=error.transient)
    return Refusal(job, error, message)


def sort_out(refusals: Sequence[Refusal]) -> Refusals:
    """Tell what is to be done with each job."""
    trouble = [one for one in refusals if isinstance(one.error, MACHINE_TROUBLE)]
    retry = [one for one in refusals if one.error.transient and one not in trouble]
    return Refusals(
        fail=[one for one in refusals if not one.error.transient],
        retry=retry,
        release=[one.job for one in trouble],
    )
