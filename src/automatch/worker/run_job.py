"""One job from claimed to settled.

Its outcome is one of: completed, tried again later, failed with a code, given back without
costing an attempt, or nothing at all because another worker has taken it over.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from automatch.errors import (
    AutomatchError,
    DatabaseUnavailableError,
    EmbedderError,
    JobCrashedError,
    LeaseLostError,
    StorageFullError,
)
from automatch.matcher import keep_face, match_face
from automatch.model import SERVICE, ClaimedJob
from automatch.settings import WorkerSettings
from automatch.store import jobs
from automatch.store.database import Database
from automatch.store.photos import PhotoStore
from automatch.vision import Eyes

_MACHINE_TROUBLE = (DatabaseUnavailableError, StorageFullError)
"""Not the job's fault: it costs no attempt."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Bench:
    """What a job is worked on with."""

    db: Database
    photos: PhotoStore
    eyes: Eyes
    settings: WorkerSettings


async def run_job(job: ClaimedJob, bench: Bench) -> None:
    """Work on *job* and settle it; raises only when cancelled."""
    logger = log.bind(job=str(job.id), attempt=job.attempts)
    try:
        async with asyncio.timeout(bench.settings.job_timeout_s):
            count = await _work(job, bench)
    except LeaseLostError:
        logger.warning("job lost to another worker")
    except AutomatchError as exc:
        await _settle(job, bench, exc)
    except TimeoutError:
        await _settle(job, bench, JobCrashedError("Looking at the photo took too long."))
    except Exception:
        # The one place that catches everything: whatever a photo makes a library do,
        # the worker lives on. What the log keeps of it is its kind and place: see cli/logs.py.
        logger.exception("job crashed")
        await _settle(job, bench, JobCrashedError())
    else:
        logger.info("job completed", matches=count)


async def _work(job: ClaimedJob, bench: Bench) -> int:
    if not job.is_embedded:
        seen = await bench.eyes.see(await bench.photos.read(job.image_path))
        await bench.photos.put_copies(
            job.image_path, full=seen.kept_jpeg, thumb=seen.thumbnail_jpeg
        )
        await keep_face(bench.db, job, seen, model_id=bench.eyes.model_id)
        await bench.photos.drop_upload(job.image_path)
    return await match_face(bench.db, job)


async def _settle(job: ClaimedJob, bench: Bench, error: AutomatchError) -> None:
    """Write down why *job* did not complete; keeps trying while the lease may be ours."""
    logger = log.bind(job=str(job.id), attempt=job.attempts, code=error.code)
    try:
        async with asyncio.timeout(bench.settings.lease_s):
            while True:
                try:
                    await _write_down(job, bench, error)
                except DatabaseUnavailableError:
                    await asyncio.sleep(bench.settings.backoff_s)
                else:
                    break
    except TimeoutError:
        logger.warning("job could not be settled; its lease runs out")
    else:
        logger.info("job not completed", transient=error.transient)


async def _write_down(job: ClaimedJob, bench: Bench, error: AutomatchError) -> None:
    # What is wrong with a model names files of this machine; the job's owner reads this.
    message = JobCrashedError().message if isinstance(error, EmbedderError) else error.message
    async with bench.db.as_user(SERVICE) as conn:
        if isinstance(error, _MACHINE_TROUBLE):
            await jobs.release_jobs(conn, [job], delay_s=bench.settings.backoff_s)
        elif error.transient:
            await jobs.retry_job(conn, job, bench.settings, code=error.code, message=message)
        else:
            await jobs.fail_job(conn, job, code=error.code, message=message)
