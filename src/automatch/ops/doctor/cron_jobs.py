"""What the checks of the schedule read of pg_cron and pg_net, or of what stands in for them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from automatch.ops.doctor.installation import Installation
from automatch.sql.statements import load

SQL = load("doctor_schedule")

MAIN = "process-match-jobs"
DAY_S = 86400.0
NO_CRON = "pg_cron is not installed."

_URL = re.compile(r"\burl\s*(?::=|=>)\s*'([^']+)'", re.IGNORECASE)
_SETTING = re.compile(r"current_setting\(\s*'([\w.]+)'", re.IGNORECASE)
_WRITTEN_KEY = re.compile(r"'(?:Bearer\s+)?(?:eyJ[\w-]+\.|sb_secret_|amt_)")
_SECONDS = re.compile(r"(\d+)\s+seconds?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parts:
    """Which of the two are there."""

    has_cron: bool
    has_net: bool
    is_pg_cron: bool
    """The extension itself, and not what stands in for it."""


@dataclass(frozen=True, slots=True)
class CronJob:
    """An entry of the schedule. Its command may hold a key, and is never shown."""

    id: int
    name: str
    schedule: str
    active: bool
    command: str
    is_own: bool

    @property
    def url(self) -> str | None:
        """The address that it calls."""
        found = _URL.search(self.command)
        return found[1] if found else None

    @property
    def settings(self) -> set[str]:
        """The settings of the database that its command reads."""
        return set(_SETTING.findall(self.command))

    @property
    def has_written_key(self) -> bool:
        """Whether a key stands in the command itself."""
        return bool(_WRITTEN_KEY.search(self.command))

    @property
    def has_seconds_field(self) -> bool:
        """Whether it has six fields, as the guide writes it, and not cron's five."""
        return len(self.schedule.split()) == 6

    @property
    def meant_s(self) -> int | None:
        """How many seconds a six-field schedule is meant to have between two runs."""
        first, *others = self.schedule.split()
        found = re.fullmatch(r"\*/([1-9]|[1-5]\d)", first)
        return int(found[1]) if found and others == ["*"] * 5 else None

    @property
    def every_s(self) -> float:
        """How often it runs, in seconds, as far as that is easily told; at most a day."""
        if seconds := _SECONDS.fullmatch(self.schedule.strip()):
            return float(seconds[1])
        minute = re.fullmatch(r"\*(?:/(\d+))?(?:\s+\*){4,5}", self.schedule.strip())
        return 60.0 * int(minute[1] or 1) if minute else DAY_S


async def load_parts(site: Installation) -> Parts:
    return await site.one(Parts, SQL["parts"])


async def list_jobs(site: Installation) -> list[CronJob]:
    """Return the entries that have to do with matching; pg_cron must be there."""
    return await site.all(CronJob, SQL["jobs"])
