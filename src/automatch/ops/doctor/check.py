"""What a check is, and what comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from automatch.ops.doctor.installation import Installation


class Health(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARN = "warn"
    """It works, and something should be done."""
    FAIL = "fail"
    """It does not work, or harms somebody."""
    SKIPPED = "skipped"
    """It could not be looked at, or is not there to be looked at."""


class Need(Enum):
    """What has to be there for a check to make sense; each includes those before it."""

    NOTHING = 0
    DATABASE = 1
    TABLES = 2
    """Of this version."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Something that can be put right without harm."""

    does: str
    """What it does, as a sentence that follows "it"."""
    act: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found; neither sentence nor fix ever holds a secret or a name."""

    health: Health
    says: str
    fix: str | None = None
    """A command or a sentence: what to do about it."""
    repair: Repair | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One look at one thing."""

    name: str
    """Such as `queue.workers`."""
    looks_at: str
    look: Callable[[Installation], Awaitable[Result]]
    needs: Need = Need.TABLES


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check with what it found."""

    check: Check
    result: Result


def ok(says: str) -> Result:
    """Return that all is well."""
    return Result(Health.OK, says)


def warn(says: str, fix: str | None = None, repair: Repair | None = None) -> Result:
    """Return that something should be done."""
    return Result(Health.WARN, says, fix, repair)


def fail(says: str, fix: str | None = None, repair: Repair | None = None) -> Result:
    """Return that something does not work."""
    return Result(Health.FAIL, says, fix, repair)


def skipped(why: str) -> Result:
    """Return that there was nothing to look at."""
    return Result(Health.SKIPPED, why)


def some(names: list[str], most: int = 5) -> str:
    """Return names as a list for a sentence, the first few of them."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
