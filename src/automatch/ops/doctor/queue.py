"""The queue: whether workers are connected, whether jobs progress, and why they failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from automatch.errors.cause import Cause, cause_of
from automatch.errors.photo import HELD_CODES
from automatch.ops.doctor.check import Check, Repair, Result, abbreviate, fail, ok, skipped, warn
from automatch.ops.doctor.context import CheckContext
from automatch.sql.statements import load
from automatch.store.call import call
from automatch.store.queue import queue_admin, stats

_SQL = load("doctor_queue")

_TARGET_S = 60.0
"""The guide promises that a job ends within a minute."""
_BACKLOG_S = 300.0
"""The guide's sign of too few workers: the oldest job has been waiting for this long."""


@dataclass(frozen=True, slots=True)
class _Progress:
    paused: bool
    paused_schools: list[str]
    waiting: int
    expired_leases: int
    oldest_waiting_s: float | None
    ended_last_minute: int
    long_expired: int


@dataclass(frozen=True, slots=True)
class _Failed:
    code: str
    jobs: int


@dataclass(frozen=True, slots=True)
class _Latency:
    jobs: int
    p95_s: float | None


async def _workers(context: CheckContext) -> Result:
    count = await stats.count_workers(context.database)
    if count:
        return ok(f"{count} {'worker is' if count == 1 else 'workers are'} connected.")
    return fail(
        "No worker is connected: uploads are accepted, but not processed.",
        "automatch up" if context.is_embedded else "automatch worker",
    )


async def _faults(context: CheckContext) -> Result:
    faults = await stats.list_worker_faults(context.database)
    if not faults:
        return ok("No worker has paused because of the installation.")
    workers = sum(fault.workers for fault in faults)
    return fail(
        f"{workers} of the workers paused because of the installation: {faults[0].message}.",
        "Put right what it names. What is missing in the database comes with `automatch migrate` "
        "of the workers' version; photos: see storage.mark. The workers try again by themselves.",
    )


async def _paused(context: CheckContext) -> Result:
    progress = await context.one(_Progress, _SQL["progress"])
    if progress.paused:
        return warn(
            f"The queue is paused; {_count_waiting(progress)}.",
            "automatch jobs resume",
        )
    if progress.paused_schools:
        count = len(progress.paused_schools)
        return warn(
            f"{count} {'school is' if count == 1 else 'schools are'} paused by name.",
            "`automatch jobs stats` names them; then `automatch jobs resume --school NAME`",
        )
    return ok("Nothing is paused.")


async def _waiting(context: CheckContext) -> Result:
    progress = await context.one(_Progress, _SQL["progress"])
    waits_s = progress.oldest_waiting_s
    if waits_s is None:
        return ok("No job is waiting.")
    message = f"{_count_waiting(progress)}, the oldest for {waits_s:.0f} s"
    if progress.paused:
        return skipped(f"{message}; the queue is paused.")
    if waits_s > _TARGET_S and not progress.ended_last_minute:
        return fail(
            f"{message}, and none has ended in the last minute.",
            "Start a worker (`automatch worker`); if one is running, check its log.",
        )
    if waits_s > _BACKLOG_S:
        return warn(f"{message}; they are processed, but too slowly.", "Start another worker.")
    return ok(f"{message}.")


async def _stuck(context: CheckContext) -> Result:
    progress = await context.one(_Progress, _SQL["progress"])
    if not progress.long_expired:
        return ok("No job is held by a dead worker.")

    async def sweep() -> None:
        async with context.repairing("queue.stuck") as conn:
            await call(conn, "sweep_match_jobs")

    return fail(
        f"The leases of {progress.long_expired} jobs expired over a minute ago; a running worker "
        "would have released them.",
        "Start a worker (`automatch worker`).",
        Repair("Release them, so that the next worker gets them", sweep),
    )


async def _failed(context: CheckContext) -> Result:
    found = await context.all(_Failed, _SQL["failed"])
    internal = [row for row in found if cause_of(row.code) is Cause.SYSTEM]
    if not internal:
        photos = sum(row.jobs for row in found if row.code not in HELD_CODES)
        return ok(
            f"Photos that could not be used: {photos}; their people were told why."
            if photos
            else "No job has failed."
        )
    codes = abbreviate([f"{row.code} ({row.jobs})" for row in internal])

    async def retry() -> None:
        async with context.repairing("queue.failed", codes=[row.code for row in internal]) as conn:
            for row in internal:
                await queue_admin.retry_failed(conn, context.actor, code=row.code)

    return fail(
        f"Jobs failed because of this installation, not because of their photos: {codes}.",
        "`automatch jobs list --status failed` lists them; fix the cause (docs/errors.md), then "
        + _retry_command(internal),
        Repair(f"Give {sum(row.jobs for row in internal)} jobs all their attempts again", retry),
    )


async def _latency(context: CheckContext) -> Result:
    latency = await context.one(_Latency, _SQL["latency"])
    if latency.p95_s is None:
        return skipped("No job has ended in the last hour.")
    message = f"95% of the {latency.jobs} jobs of the last hour ended within {latency.p95_s:.1f} s"
    if latency.p95_s > _TARGET_S:
        return warn(
            f"{message}; the target is a minute.", "Start another worker, or check for pauses."
        )
    return ok(f"{message}.")


def _count_waiting(progress: _Progress) -> str:
    return "1 job is waiting" if progress.waiting == 1 else f"{progress.waiting} jobs are waiting"


def _retry_command(failed: Sequence[_Failed]) -> str:
    return " and ".join(f"`automatch jobs retry --code {row.code}`" for row in failed[:3])


CHECKS = [
    Check("queue.workers", "A worker is connected", _workers),
    Check("queue.faults", "No worker has paused because of the installation", _faults),
    Check("queue.paused", "Nothing is paused", _paused),
    Check("queue.waiting", "Jobs do not stay pending", _waiting),
    Check("queue.stuck", "No job is held by a dead worker", _stuck),
    Check("queue.failed", "No job failed because of the installation", _failed),
    Check("queue.latency", "Jobs end within a minute", _latency),
]
