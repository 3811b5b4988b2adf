"""The console's first page: how the installation goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import ClassVar

from fastapi import APIRouter
from starlette.responses import Response

from automatch.errors.cause import Cause
from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep
from automatch.model.history import HistoryPoint, Stage
from automatch.ops.doctor.check import Health
from automatch.services.operation.figures import Made
from automatch.services.operation.installation_checks import Finding
from automatch.services.operation.overview import Overview, count_waiting, load_overview
from automatch.services.operators.acts import Act
from automatch.store.operation.overview import Waiting
from automatch.web.amounts import as_duration
from automatch.web.console.frame import ConsolePage, ConsoleRoute, MeDep, may, show
from automatch.web.pages import go_to

router = APIRouter(prefix="/admin", route_class=ConsoleRoute, include_in_schema=False)

RANGES = {"hour": (1, "Last hour"), "day": (24, "Last day"), "month": (720, "Last 30 days")}
_CAUSES = {
    Cause.PERSON: ("People's photos", "Nothing is broken: their photo or profile can't be used."),
    Cause.SYSTEM: ("The system's faults", "Find out why, then retry the jobs."),
    Cause.OPERATOR: ("Stopped by operators", "Cancelled by hand."),
}
_STAGES = {
    Stage.WAIT: "Waiting",
    Stage.DECODE: "Decoding",
    Stage.DETECT: "Finding the face",
    Stage.EMBED: "Embedding",
    Stage.STORE: "Storing",
    Stage.SEARCH: "Searching",
    Stage.PUBLISH: "Publishing",
    Stage.DELIVER: "Reaching the screen",
}
_STATUSES = {
    "pending": "Waiting",
    "processing": "In progress",
    "completed": "Completed",
    "failed": "Failed",
}

Series = Sequence[tuple[str, Sequence[float | None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewPage(ConsolePage):
    """The installation at one moment."""

    template: ClassVar[str] = "console/overview.html"
    section: ClassVar[str] = "overview"
    title: str = "Overview"
    range: str
    now: Overview
    checks: Made[list[Finding]]
    starts_worker: bool
    """Whether this process runs a worker, and starts it again when it ends."""
    waiting: Waiting
    sends_mail: bool

    @property
    def waits(self) -> list[tuple[str, int, str]]:
        """What waits for this operator and their role: title, how many, and where."""
        waiting = self.waiting
        mail = ("Mails that failed", waiting.failed_mails)
        if not self.sends_mail:
            mail = ("Mails to hand over", waiting.mails)
        return [
            (title, count, address)
            for act, title, count, address in [
                (Act.LIST_CASES, "Open cases", waiting.open_cases, "/admin/cases"),
                (
                    Act.LIST_CASES,
                    "Take-downs not confirmed yet",
                    waiting.unproven_cases,
                    "/admin/cases?state=unproven",
                ),
                (Act.LIST_HELD_PHOTOS, "Photos that wait", waiting.held_photos, "/admin/held"),
                (Act.LIST_REQUESTS, "Requests", waiting.membership_requests, "/admin/requests"),
                (Act.LIST_MAILS, *mail, "/admin/mail"),
            ]
            if may(self.me, act)
        ]

    @property
    def has_faults(self) -> bool:
        """Whether jobs failed by the fault of this installation."""
        return bool(self.now.failures[Cause.SYSTEM])

    def about(self, seconds: float | None) -> str:
        """Return a time that is estimated from counts in steps."""
        return as_duration(seconds) if seconds is None else f"about {as_duration(seconds)}"

    @property
    def replica(self) -> tuple[str, str]:
        """How far the replica is behind, and what that means."""
        lag_s = self.now.replica_lag_s
        if lag_s:
            return as_duration(lag_s), "behind; the primary answers"
        return "keeps up", "answers for feeds and photos"

    def age(self, since: datetime) -> str:
        """Return how long something is there."""
        return as_duration((self.now.at - since).total_seconds())

    @property
    def ranges(self) -> list[tuple[str, str]]:
        """What may be looked back at: name and text."""
        return [(name, text) for name, (_, text) in RANGES.items()]

    @property
    def counts(self) -> list[tuple[str, str, int, datetime | None]]:
        """Status, its title, how many jobs, and since when the oldest is there."""
        found = {status.status.value: status for status in self.now.statuses}
        return [
            (name, title, found[name].count if name in found else 0, _oldest(found.get(name)))
            for name, title in _STATUSES.items()
        ]

    @property
    def way(self) -> tuple[str, float | None, float | None, int]:
        """How far was measured, the seconds of p50 and p95, and the jobs.

        Where no page was open, that is to the end of the job.
        """
        stages = self.now.stages
        name, stage = (
            ("screen", Stage.TO_SCREEN) if Stage.TO_SCREEN in stages else ("end", Stage.TO_END)
        )
        times = stages.get(stage)
        if times is None:
            return name, None, None, 0
        p50, p95 = (times.percentile_ms(share) for share in (0.5, 0.95))
        return name, p50 and p50 / 1000, p95 and p95 / 1000, times.jobs

    @property
    def steps(self) -> Sequence[HistoryPoint]:
        """The steps of the charts, without the last one, which is not over."""
        return self.now.history[:-1]

    @property
    def times(self) -> list[datetime]:
        """When the steps begin."""
        return [point.starts_at for point in self.steps]

    @property
    def stage_series(self) -> Series:
        """Mean milliseconds of each stage at each step."""
        return [
            (title, [_mean(point.stages.get(stage)) for point in self.steps])
            for stage, title in _STAGES.items()
            if any(stage in point.stages for point in self.steps)
        ]

    @property
    def rate_series(self) -> Series:
        """Jobs a minute at each step."""
        spans = [
            (after.starts_at - at.starts_at).total_seconds() / 60
            for at, after in pairwise(self.now.history)
        ]
        steps = list(zip(self.steps, spans, strict=True))
        return [
            ("Completed", [round(point.completed / span, 2) for point, span in steps]),
            ("Failed", [round(sum(point.failures.values()) / span, 2) for point, span in steps]),
        ]

    @property
    def failures(self) -> list[tuple[str, str, str, list[tuple[str, int, datetime]]]]:
        """Whose matter failures are: its name, title, what to do, and code, jobs and last time."""
        return [
            (
                cause.value,
                title,
                advice,
                [(each.code, each.jobs, each.last_at) for each in self.now.failures[cause]],
            )
            for cause, (title, advice) in _CAUSES.items()
            if self.now.failures[cause] or cause is not Cause.OPERATOR
        ]

    @property
    def findings(self) -> list[Finding]:
        """What the checks found that is not in order, the worst first."""
        found = self.checks.value or []
        return [each for each in found if each.health is Health.FAIL] + [
            each for each in found if each.health is Health.WARN
        ]

    @property
    def unchecked(self) -> list[Finding]:
        """What could not be checked, or does not apply."""
        return [each for each in self.checks.value or [] if each.health is Health.SKIPPED]

    @property
    def clients(self) -> int:
        """Open feeds and channels of all servers that are alive."""
        return sum(each.streams + each.channels for each in self.now.servers if each.alive)


def _oldest(status: object) -> datetime | None:
    return getattr(status, "oldest_created_at", None)


def _mean(times: object) -> float | None:
    mean: float | None = getattr(times, "mean_ms", None)
    return None if mean is None else round(mean, 1)


@router.get("")
@declare(Access.CONSOLE, act=Act.SEE_SYSTEM)
async def overview(me: MeDep, services: ServicesDep, range: str = "day") -> Response:  # noqa: A002
    """Show how the installation goes, over an hour, a day or 30 days."""
    name = range if range in RANGES else "day"
    now = await load_overview(
        services.db, services.settings, reads=services.reads, hours=RANGES[name][0]
    )
    return show(
        OverviewPage(
            me=me,
            range=name,
            now=now,
            checks=services.checks.latest(),
            starts_worker=services.background.runs("worker"),
            waiting=await count_waiting(services.db, me),
            sends_mail=services.mailed_links.sends_mail,
        )
    )


@router.post("/checks")
@declare(Access.CONSOLE, act=Act.SEE_SYSTEM)
async def check_again(_: MeDep, services: ServicesDep) -> Response:
    """Check the installation again, in the background."""
    services.checks.renew()
    return go_to("/admin#checks")
