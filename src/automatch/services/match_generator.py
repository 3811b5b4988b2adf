"""Having the jobs that wait done, for who calls from outside.

Workers do the work, and have mostly done it before a schedule comes by. So the call looks which
jobs wait, gives the workers a moment, and reports what came of those jobs. When no worker comes for
them it has a spare one started, a process of its own: nothing is ever seen or searched in here.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Literal, Protocol

import structlog
from pydantic import BaseModel, ConfigDict, Field

from automatch.errors.store import JobsUnfinishedError, QueuePausedError
from automatch.store import match_generator
from automatch.store.database import Database

_BATCH = 100
"""Jobs that one call waits for, at most."""
_PATIENCE_S = 2.0
"""So long the workers have for taking a job, before a spare one is started."""
_ANSWER_S = 25.0
"""An answer comes within this, be the work done or not."""
_LOOK_S = 0.05
_LOOK_MAX_S = 0.5

log = structlog.get_logger(__name__)


class OnDemandWorker(Protocol):
    """A worker that can be called in."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Have it work while the block lasts."""
        ...


class Generated(BaseModel):
    """What came of the jobs that waited."""

    model_config = ConfigDict(serialize_by_alias=True)

    success: Literal[True] = True
    message: Literal["Matches generated successfully", "No pending jobs"]
    processed: bool
    match_count: int = Field(serialization_alias="matchCount")


async def drain_queue(db: Database, spare: OnDemandWorker) -> Generated:
    """Have the jobs that wait now done, by the workers or, without one, by *spare*.

    Raises:
        QueuePausedError: jobs wait, and may not be worked on.
        JobsUnfinishedError: jobs wait, and none of them ended in time.
    """
    async with db.connection() as conn:
        job_ids = await match_generator.list_due_jobs(conn, _BATCH)
    if not job_ids:
        return Generated(message="No pending jobs", processed=False, match_count=0)
    began = time.monotonic()
    pause_s = _LOOK_S
    async with AsyncExitStack() as stack:
        called_in = False
        while True:
            async with db.connection() as conn:
                progress = await match_generator.load_progress(conn, job_ids)
            waited_s = time.monotonic() - began
            if not progress.open or progress.paused or waited_s > _ANSWER_S:
                break
            if not called_in and waited_s > _PATIENCE_S and not progress.worker_is_alive:
                log.warning("no worker takes jobs; calling one in", waiting=progress.open)
                await stack.enter_async_context(spare.running())
                called_in = True
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LOOK_MAX_S)
    if progress.open == len(job_ids):
        raise QueuePausedError if progress.paused else JobsUnfinishedError
    return Generated(
        message="Matches generated successfully", processed=True, match_count=progress.matches
    )
