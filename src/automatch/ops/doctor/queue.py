"""The queue: whether somebody works on it, whether it moves, and what it failed at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from automatch.errors import AutomatchError
from automatch.errors.job import JobCancelledError, ProfileNotFoundError
from automatch.errors.photo import PhotoRejectedError
from automatch.errors.request import RequestError
from automatch.errors.upload import UploadError
from automatch.ops.doctor.check import Check, Repair, Result, fail, ok, skipped, some, warn
from automatch.ops.doctor.installation import Installation
from automatch.sql.statements import load
from automatch.store import queue_admin, stats

_SQL = load("doctor_queue")

_PATIENCE_S = 60.0
"""The guide's promise: a job ends within a minute."""
_BACKLOG_S = 300.0
"""The guide's sign that there are too few workers."""


@dataclass(frozen=True, slots=True)
class _Pace:
    paused: bool
    paused_schools: list[str]
    waiting: int
    expired_leases: int
    oldest_waiting_s: float | None
    ended_lately: int
    long_expired: int


@dataclass(frozen=True, slots=True)
class _Failed:
    code: str
    jobs: int


@dataclass(frozen=True, slots=True)
class _Latency:
    jobs: int
    p95_s: float | None


async def _workers(site: Installation) -> Result:
    count = await stats.count_workers(site.database)
    if count:
        return ok(f"{count} {'worker is' if count == 1 else 'workers are'} connected.")
    return fail(
        "No worker is connected: uploads are taken, and nobody looks at them.",
        "automatch up" if site.is_embedded else "automatch worker",
    )


async def _paused(site: Installation) -> Result:
    pace = await site.one(_Pace, _SQL["pace"])
    if pace.paused:
        return warn(
            f"The queue is paused; {pace.waiting} jobs wait for their turn.",
            "automatch jobs resume",
        )
    if pace.paused_schools:
        count = len(pace.paused_schools)
        return warn(
            f"{count} {'school is' if count == 1 else 'schools are'} paused by name.",
            "automatch jobs stats, then automatch jobs resume --school NAME",
        )
    return ok("Nothing is paused.")


async def _moving(site: Installation) -> Result:
    pace = await site.one(_Pace, _SQL["pace"])
    waits_s = pace.oldest_waiting_s
    if waits_s is None:
        return ok("No job waits.")
    told = f"{pace.waiting} jobs wait, the oldest for {waits_s:.0f} s"
    if pace.paused:
        return skipped(f"{told}; the queue is paused.")
    if waits_s > _PATIENCE_S and not pace.ended_lately:
        return fail(
            f"{told}, and none has ended in the last minute.",
            "Start a worker (`automatch worker`); if one runs, its log says what it waits for.",
        )
    if waits_s > _BACKLOG_S:
        return warn(f"{told}; they are worked on, but too slowly.", "Start another worker.")
    return ok(f"{told}.")


async def _stuck(site: Installation) -> Result:
    pace = await site.one(_Pace, _SQL["pace"])
    if not pace.long_expired:
        return ok("No job is held by a worker that is gone.")

    async def sweep() -> None:
        async with site.repairing("queue.stuck") as conn:
            await conn.execute(_SQL["sweep"])

    return fail(
        f"{pace.long_expired} jobs are held by workers that stopped answering over a minute ago; a "
        "running worker would have taken them back.",
        "Start a worker (`automatch worker`).",
        Repair("takes them back, so that the next worker gets them", sweep),
    )


async def _failed(site: Installation) -> Result:
    found = await site.all(_Failed, _SQL["failed"])
    ours = [row for row in found if not _lies_in_the_photo(row.code)]
    if not ours:
        photos = sum(row.jobs for row in found)
        return ok(
            f"{photos} photos could not be used, for reasons that their owners were told."
            if photos
            else "No job has failed."
        )
    told = some([f"{row.code} ({row.jobs})" for row in ours])

    async def retry() -> None:
        async with site.repairing("queue.failed", codes=[row.code for row in ours]) as conn:
            for row in ours:
                await queue_admin.retry_failed(conn, site.actor, code=row.code)

    return fail(
        f"Jobs failed for reasons that lie in this installation and not in their photos: {told}.",
        "automatch jobs list --status failed; put the reason right (docs/errors.md), then "
        + _retry_command(ours),
        Repair(f"gives {sum(row.jobs for row in ours)} jobs all their attempts again", retry),
    )


async def _latency(site: Installation) -> Result:
    seen = await site.one(_Latency, _SQL["latency"])
    if seen.p95_s is None:
        return skipped("No job has ended in the last hour.")
    told = f"95 of 100 jobs of the last hour ended within {seen.p95_s:.1f} s ({seen.jobs} in all)"
    if seen.p95_s > _PATIENCE_S:
        return warn(f"{told}; a minute was promised.", "Start another worker, or look for pauses.")
    return ok(f"{told}.")


def _retry_command(failed: Sequence[_Failed]) -> str:
    return " and ".join(f"`automatch jobs retry --code {row.code}`" for row in failed[:3])


def _lies_in_the_photo(code: str) -> bool:
    kinds: list[type[AutomatchError]] = [
        PhotoRejectedError,
        UploadError,
        RequestError,
        # The person was erased meanwhile, or an operator stopped the job.
        ProfileNotFoundError,
        JobCancelledError,
    ]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return code in {kind.code for kind in kinds}


CHECKS = [
    Check("queue.workers", "Somebody works on jobs", _workers),
    Check("queue.paused", "Nothing is paused", _paused),
    Check("queue.moving", "Jobs do not stay pending", _moving),
    Check("queue.stuck", "No job is held by a dead worker", _stuck),
    Check("queue.failed", "What failed, and why", _failed),
    Check("queue.latency", "From upload to matches in a minute", _latency),
]
