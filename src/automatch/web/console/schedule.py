"""The console's pages of the schedule: what runs when, how it went, and changing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors.request import InputInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import Services, ServicesDep
from automatch.model.operators import Operator
from automatch.services.operators.acts import Act
from automatch.services.queue import schedule
from automatch.store.queue.schedule import ScheduleEntry, ScheduleRun
from automatch.web.console.frame import ConsolePage, ConsoleRoute, MeDep, show
from automatch.web.pages import go_to, read_form, text_of
from automatch.web.templating import Problem

router = APIRouter(prefix="/admin/schedule", route_class=ConsoleRoute, include_in_schema=False)

_ABOUT = {
    "process-match-jobs": "Has jobs that wait looked at when no worker runs.",
    "cleanup-match-jobs": "Deletes finished jobs that are kept long enough.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePage(ConsolePage):
    """The cron jobs."""

    template: ClassVar[str] = "console/schedule.html"
    section: ClassVar[str] = "schedule"
    title: str = "Schedule"
    entries: Sequence[ScheduleEntry]

    def about(self, entry: ScheduleEntry) -> str:
        """Return what an entry is for, as far as that is known."""
        return _ABOUT.get(entry.name or "", "")

    def next_time(self, entry: ScheduleEntry) -> datetime | None:
        """Return when it runs next."""
        return next(iter(_next_times(entry)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntryPage(ConsolePage):
    """One cron job with its runs."""

    template: ClassVar[str] = "console/schedule_entry.html"
    section: ClassVar[str] = "schedule"
    entry: ScheduleEntry
    runs: Sequence[ScheduleRun]
    typed: str
    """The times that a form holds."""
    tried: Sequence[datetime] = ()
    """The next three times of what was typed."""

    @property
    def about(self) -> str:
        """What it is for, as far as that is known."""
        return _ABOUT.get(self.entry.name or "", "")

    @property
    def next_times(self) -> Sequence[datetime]:
        """When it runs next, three times."""
        return _next_times(self.entry)


def _next_times(entry: ScheduleEntry) -> Sequence[datetime]:
    if not entry.active:
        return ()
    # pg_cron reads five fields and ignores the rest.
    line = " ".join(entry.schedule.split()[:5]) if entry.ignores_seconds else entry.schedule
    return schedule.preview_times(line, datetime.now(UTC))


@router.get("")
@declare(Access.CONSOLE, act=Act.SEE_SYSTEM)
async def list_schedule(me: MeDep, services: ServicesDep) -> Response:
    """Show the cron jobs with their last runs."""
    return show(SchedulePage(me=me, entries=await schedule.list_schedule(services.db, me)))


@router.get("/{name}")
@declare(Access.CONSOLE, act=Act.SEE_SYSTEM)
async def show_entry(name: str, me: MeDep, services: ServicesDep) -> Response:
    """Show one with its runs."""
    return show(await _page(name, me, services))


@router.post("/{name}/times")
@declare(Access.CONSOLE, act=Act.CHANGE_SCHEDULE)
async def change_times(name: str, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Show the next times of what was typed, or with `apply` run it at those times."""
    form = await read_form(request)
    typed = text_of(form, "schedule")[:100]
    try:
        tried = schedule.next_times(typed, datetime.now(UTC))
        if "apply" in form:
            await schedule.change_schedule(services.db, me, name, schedule=typed)
            return go_to(f"/admin/schedule/{name}")
    except InputInvalidError as exc:
        page = await _page(name, me, services, typed=typed)
        problem = Problem(exc.code, exc.message, "schedule")
        return show(replace(page, problem=problem), exc)
    return show(await _page(name, me, services, typed=typed, tried=tried))


@router.post("/{name}/switch")
@declare(Access.CONSOLE, act=Act.CHANGE_SCHEDULE)
async def switch(name: str, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Switch it on or off."""
    active = text_of(await read_form(request), "active") == "yes"
    await schedule.change_schedule(services.db, me, name, active=active)
    return go_to(f"/admin/schedule/{name}")


@router.post("/{name}/run")
@declare(Access.CONSOLE, act=Act.RUN_SCHEDULE)
async def run_now(name: str, me: MeDep, services: ServicesDep) -> Response:
    """Run it once, now."""
    await schedule.run_now(services.db, me, name, services.schedule_dsn)
    return go_to(f"/admin/schedule/{name}")


async def _page(
    name: str,
    me: Operator,
    services: Services,
    *,
    typed: str | None = None,
    tried: Sequence[datetime] = (),
) -> ScheduleEntryPage:
    history = await schedule.load_history(services.db, me, name)
    return ScheduleEntryPage(
        me=me,
        title=name,
        entry=history.entry,
        runs=history.runs,
        typed=history.entry.schedule if typed is None else typed,
        tried=tried,
    )
