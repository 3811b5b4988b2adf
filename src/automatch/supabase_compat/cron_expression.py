"""What a schedule of `cron.schedule()` means: when to run next. Times are UTC, as pg_cron's are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cronsim import CronSim, CronSimError

_SECONDS = re.compile(r"\s*([1-9]|[1-5][0-9])\s*seconds?\s*", re.IGNORECASE)
_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_DAY = 2
"""Index of the day of the month among five fields."""


class Schedule(Protocol):
    """When a job runs."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time to run later than *moment*; None when there is none."""
        ...


@dataclass(frozen=True)
class EverySeconds:
    """`30 seconds`: so long after each start."""

    seconds: int

    def next_after(self, moment: datetime) -> datetime:
        return moment + timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class CronLine:
    """Five fields, or six with the seconds first."""

    line: str

    def next_after(self, moment: datetime) -> datetime | None:
        try:
            return next(CronSim(self.line, moment), None)
        except CronSimError:
            # A day that no month has, such as 30 February; pg_cron never runs that either.
            return None


def parse_schedule(text: str) -> Schedule:
    """Read a schedule that `cron.is_schedule()` has taken."""
    if found := _SECONDS.fullmatch(text):
        return EverySeconds(int(found[1]))
    fields = _WORDS.get(text.strip(), text).split()
    day = _DAY + (len(fields) == 6)
    if fields[day : day + 1] == ["$"]:
        fields[day] = "L"
    return CronLine(" ".join(fields))
