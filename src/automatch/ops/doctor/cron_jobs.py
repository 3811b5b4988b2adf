"""The cron jobs, as pg_cron or its replacement stores them, for the checks of the schedule."""

from __future__ import annotations

import re
from dataclasses import dataclass

from automatch.ops.doctor.context import CheckContext
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
    """Which extensions, or replacements of them, exist."""

    has_cron: bool
    has_net: bool
    is_pg_cron: bool
    """Whether it is the extension itself, and not our replacement."""


@dataclass(frozen=True, slots=True)
class CronJob:
    """A cron job. Its command may contain a key, and is never shown."""

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
        """The names of the database settings that its command reads."""
        return set(_SETTING.findall(self.command))

    @property
    def has_written_key(self) -> bool:
        """Whether the command itself contains a key."""
        return bool(_WRITTEN_KEY.search(self.command))

    @property
    def has_seconds_field(self) -> bool:
        """Whether it has six fields, as the guide writes it, and not cron's five."""
        return len(self.schedule.split()) == 6

    @property
    def intended_interval_s(self) -> int | None:
        """The interval in seconds that the author of a six-field schedule meant."""
        first, *others = self.schedule.split()
        found = re.fullmatch(r"\*/([1-9]|[1-5]\d)", first)
        return int(found[1]) if found and others == ["*"] * 5 else None

    @property
    def interval_s(self) -> float:
        """Its interval in seconds if that is simple to tell, otherwise a day."""
        if seconds := _SECONDS.fullmatch(self.schedule.strip()):
            return float(seconds[1])
        minute = re.fullmatch(r"\*(?:/(\d+))?(?:\s+\*){4,5}", self.schedule.strip())
        return 60.0 * int(minute[1] or 1) if minute else DAY_S


async def load_parts(context: CheckContext) -> Parts:
    return await context.one(Parts, SQL["parts"])


async def list_jobs(context: CheckContext) -> list[CronJob]:
    """Return the cron jobs that concern matching; requires pg_cron."""
    return await context.all(CronJob, SQL["jobs"])
