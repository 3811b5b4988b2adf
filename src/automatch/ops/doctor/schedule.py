"""The cron schedule of the deployment guide: there, meant as it is written, and running.

Auto-Match does not need one: an upload wakes a worker by itself. Where one is, it should be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from automatch.ops.doctor.check import Check, Need, Repair, Result, fail, ok, skipped, some, warn
from automatch.ops.doctor.cron_jobs import DAY_S, MAIN, NO_CRON, SQL, CronJob, list_jobs, load_parts
from automatch.ops.doctor.installation import Installation
from automatch.store.stats import without_keys

_GRACE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Run:
    status: str | None
    message: str | None
    ago_s: float | None


async def _there(site: Installation) -> Result:
    parts = await load_parts(site)
    if not parts.has_cron:
        return skipped(f"{NO_CRON} Uploads wake workers themselves; nothing is missing.")
    main = [job for job in await list_jobs(site) if job.name == MAIN or job.url]
    if not main:
        return warn(
            f"There is no cron job {MAIN}. Workers do without it.", "automatch schedule --every 60s"
        )
    resting = [job.name for job in main if not job.active]
    if resting:
        return warn(
            f"The cron job {some(resting)} is switched off.", "automatch schedule --every 60s"
        )
    return ok(f"{some([f'{job.name} ({job.schedule})' for job in main])}.")


async def _fields(site: Installation) -> Result:
    parts = await load_parts(site)
    if not parts.has_cron:
        return skipped(NO_CRON)
    odd = [job for job in await list_jobs(site) if job.has_seconds_field]
    if not odd:
        return ok("Every entry has cron's five fields, or says how many seconds.")
    told = some([f"{job.name} ({job.schedule})" for job in odd])
    if not parts.is_pg_cron:
        return warn(
            f"{told} has six fields. Here the first means seconds; pg_cron itself would take it "
            "for minutes, without a word.",
            _every(odd),
            _reschedule(site, odd),
        )
    return fail(
        f"{told} has six fields. pg_cron has five: it takes the first for minutes and drops the "
        "last, so that what is meant to run every 30 seconds runs every 30 minutes.",
        _every(odd),
        _reschedule(site, odd),
    )


def _every(odd: Sequence[CronJob]) -> str:
    return f"automatch schedule --every {odd[0].meant_s or 30}s"


def _reschedule(site: Installation, odd: Sequence[CronJob]) -> Repair | None:
    clear = [job for job in odd if job.is_own and job.name != str(job.id) and job.meant_s]
    if not clear:
        return None

    async def act() -> None:
        async with site.repairing("schedule.fields", jobs=[job.name for job in clear]) as conn:
            for job in clear:
                await conn.execute(
                    SQL["reschedule"],
                    {
                        "name": job.name,
                        "schedule": f"{job.meant_s} seconds",
                        "command": job.command,
                    },
                )

    told = some([f"{job.name} to '{job.meant_s} seconds'" for job in clear])
    return Repair(f"sets {told}", act)


async def _running(site: Installation) -> Result:
    parts = await load_parts(site)
    if not parts.has_cron:
        return skipped(NO_CRON)
    active = [job for job in await list_jobs(site) if job.active]
    if not active:
        return skipped("Nothing is scheduled.")
    fix = "`automatch stats` shows the last runs; pg_cron runs them, or without it the server"
    runs = {job.name: await site.all(_Run, SQL["last_run"], job=job.id) for job in active}
    complaints = [told for job in active if (told := _complaint(job, runs[job.name]))]
    if complaints:
        return fail(" ".join(complaints), fix)
    # What runs once a day may be younger than a day.
    never = [job.name for job in active if not runs[job.name] and job.every_s < DAY_S]
    if never:
        return warn(f"{some(never)} has never run; it should within a minute or so.", fix)
    return ok("The last runs are not longer ago than they should be, and succeeded.")


def _complaint(job: CronJob, runs: Sequence[_Run]) -> str | None:
    if not runs:
        return None
    (run,) = runs
    if run.status == "failed":
        return (
            f"The last run of {job.name} failed: {without_keys(run.message or 'no reason given')}"
        )
    if run.ago_s is not None and run.ago_s > 2 * job.every_s + _GRACE_S:
        return f"{job.name} ran {run.ago_s:.0f} s ago for the last time."
    return None


CHECKS = [
    Check("schedule.there", "The cron schedule is there", _there, Need.DATABASE),
    Check("schedule.fields", "The schedule means what it says", _fields, Need.DATABASE),
    Check("schedule.running", "The schedule runs", _running, Need.DATABASE),
]
