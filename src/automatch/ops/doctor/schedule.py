"""The cron schedule of the deployment guide: whether it exists, is correct and runs.

Auto-Match does not need one, because an upload wakes a worker; but if there is one, it should work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from automatch.ops.doctor.check import (
    Check,
    Repair,
    Requires,
    Result,
    abbreviate,
    fail,
    ok,
    skipped,
    warn,
)
from automatch.ops.doctor.context import CheckContext
from automatch.ops.doctor.cron_jobs import DAY_S, MAIN, NO_CRON, SQL, CronJob, list_jobs, load_parts
from automatch.store.queue.stats import redact_keys

_GRACE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Run:
    status: str | None
    message: str | None
    ago_s: float | None


async def _exists(context: CheckContext) -> Result:
    parts = await load_parts(context)
    if not parts.has_cron:
        return skipped(f"{NO_CRON} It is not needed: uploads wake the workers.")
    main = [job for job in await list_jobs(context) if job.name == MAIN or job.url]
    if not main:
        return warn(
            f"There is no cron job {MAIN}. Workers do not need it.",
            "automatch schedule --every 60s",
        )
    disabled = [job.name for job in main if not job.active]
    if disabled:
        return warn(
            f"The cron job {abbreviate(disabled)} is disabled.", "automatch schedule --every 60s"
        )
    return ok(f"{abbreviate([f'{job.name} ({job.schedule})' for job in main])}.")


async def _fields(context: CheckContext) -> Result:
    parts = await load_parts(context)
    if not parts.has_cron:
        return skipped(NO_CRON)
    six_fields = [job for job in await list_jobs(context) if job.has_seconds_field]
    if not six_fields:
        return ok("Every schedule has cron's five fields, or an interval in seconds.")
    names = abbreviate([f"{job.name} ({job.schedule})" for job in six_fields])
    if not parts.is_pg_cron:
        return warn(
            f"{names} has six fields. Here the first means seconds; pg_cron itself would read it "
            "as minutes, without a warning.",
            _command(six_fields),
            _reschedule(context, six_fields),
        )
    return fail(
        f"{names} has six fields. pg_cron has five: it reads the first as minutes and ignores the "
        "last, so a job meant for every 30 seconds runs every 30 minutes.",
        _command(six_fields),
        _reschedule(context, six_fields),
    )


def _command(jobs: Sequence[CronJob]) -> str:
    return f"automatch schedule --every {jobs[0].intended_interval_s or 30}s"


def _reschedule(context: CheckContext, jobs: Sequence[CronJob]) -> Repair | None:
    repairable = [
        job for job in jobs if job.is_own and job.name != str(job.id) and job.intended_interval_s
    ]
    if not repairable:
        return None

    async def act() -> None:
        async with context.repairing(
            "schedule.fields", jobs=[job.name for job in repairable]
        ) as conn:
            for job in repairable:
                await conn.execute(
                    SQL["reschedule"],
                    {
                        "name": job.name,
                        "schedule": f"{job.intended_interval_s} seconds",
                        "command": job.command,
                    },
                )

    changes = abbreviate(
        [f"{job.name} to '{job.intended_interval_s} seconds'" for job in repairable]
    )
    return Repair(f"Set {changes}", act)


async def _running(context: CheckContext) -> Result:
    parts = await load_parts(context)
    if not parts.has_cron:
        return skipped(NO_CRON)
    active = [job for job in await list_jobs(context) if job.active]
    if not active:
        return skipped("No cron job is active.")
    fix = (
        "The process of pg_cron runs them."
        if parts.is_pg_cron
        else "Start the server (`automatch serve`), which runs them."
    ) + " `automatch schedule` tells how the last runs ended."
    runs = {job.name: await context.all(_Run, SQL["last_run"], job=job.id) for job in active}
    # Nothing ran while no server led, and pg_cron needs none.
    led = [] if parts.is_pg_cron else await context.column(SQL["leader"])
    led_s: float = min((seconds for seconds in led if seconds is not None), default=math.inf)
    problems = [problem for job in active if (problem := _problem(job, runs[job.name], led_s))]
    if problems:
        return fail(" ".join(problems), fix)
    # A daily job may have been created less than a day ago.
    never = [job.name for job in active if not runs[job.name] and job.interval_s < DAY_S]
    if never:
        if all(led_s <= _patience_s(job) for job in active if job.name in never):
            return ok(f"The schedule has just begun; {abbreviate(never)} is still to run.")
        return warn(
            f"{abbreviate(never)} has never run; it should have within a minute or so.", fix
        )
    return ok("The last runs are recent and succeeded.")


def _patience_s(job: CronJob) -> float:
    return 2 * job.interval_s + _GRACE_S


def _problem(job: CronJob, runs: Sequence[_Run], led_s: float) -> str | None:
    if not runs:
        return None
    (run,) = runs
    if run.status == "failed":
        return f"The last run of {job.name} failed: {redact_keys(run.message or 'no reason given')}"
    if run.ago_s is not None and min(run.ago_s, led_s) > _patience_s(job):
        return f"The last run of {job.name} was {run.ago_s:.0f} s ago."
    return None


CHECKS = [
    Check("schedule.exists", "The cron schedule exists", _exists, Requires.DATABASE),
    Check("schedule.fields", "The schedules have valid fields", _fields, Requires.DATABASE),
    Check("schedule.running", "The schedule runs", _running, Requires.DATABASE),
]
