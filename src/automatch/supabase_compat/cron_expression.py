"""Parsing the schedules of `cron.schedule()`. Times are UTC, as in pg_cron."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cronsim import CronSim, CronSimError

_SECONDS = re.compile(r"\s*([1-9]|[1-5][0-9])\s*seconds?\s*", re.IGNORECASE)
_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_DAY_FIELD = 2
"""Index of the day of the month among five fields."""


class Schedule(Protocol):
    """When a job runs."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time to run later than *moment*; None when there is none."""
        ...


@dataclass(frozen=True)
class EverySeconds:
    """`30 seconds`: this long after each start."""

    seconds: int

    def next_after(self, moment: datetime) -> datetime:
        return moment + timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class CronExpression:
    """Five fields, or six with the seconds first."""

    expression: str

    def next_after(self, moment: datetime) -> datetime | None:
        try:
            return next(CronSim(self.expression, moment), None)
        except CronSimError:
            # A day that no month has, such as 30 February; pg_cron never runs it either.
            return None


def parse_schedule(text: str) -> Schedule:
    """Parse a schedule that `cron.is_schedule()` has accepted."""
    if match := _SECONDS.fullmatch(text):
        return EverySeconds(int(match[1]))
    fields = _SHORTHANDS.get(text.strip(), text).split()
    day = _DAY_FIELD + (len(fields) == 6)
    if fields[day : day + 1] == ["$"]:
        fields[day] = "L"
    return CronExpression(" ".join(fields))
