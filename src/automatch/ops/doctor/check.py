"""A check, and its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from automatch.ops.doctor.context import CheckContext


class Health(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARN = "warn"
    """It works, but should be improved."""
    FAIL = "fail"
    """It does not work, or is a security problem."""
    SKIPPED = "skipped"
    """It could not be checked, or does not apply."""


class Requires(Enum):
    """What a check requires; each level includes those before it."""

    NOTHING = 0
    DATABASE = 1
    SCHEMA = 2
    """The tables of this version."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A change that is safe to make without further thought."""

    description: str
    """What it does, as an imperative without a full stop."""
    act: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found; neither message nor fix contains a secret or a person's name."""

    health: Health
    message: str
    fix: str | None = None
    """How to fix it: what is to be typed, or a sentence with that in backticks."""
    repair: Repair | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one property."""

    name: str
    """Such as `queue.workers`."""
    title: str
    run: Callable[[CheckContext], Awaitable[Result]]
    requires: Requires = Requires.SCHEMA


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check with its result."""

    check: Check
    result: Result


def ok(message: str) -> Result:
    """Return a result without a problem."""
    return Result(Health.OK, message)


def warn(message: str, fix: str | None = None, repair: Repair | None = None) -> Result:
    """Return a result that needs attention."""
    return Result(Health.WARN, message, fix, repair)


def fail(message: str, fix: str | None = None, repair: Repair | None = None) -> Result:
    """Return a result that needs a fix."""
    return Result(Health.FAIL, message, fix, repair)


def skipped(reason: str) -> Result:
    """Return that there was nothing to check."""
    return Result(Health.SKIPPED, reason)


def abbreviate(names: list[str], limit: int = 5) -> str:
    """Return the first *limit* names as a list for a sentence."""
    first = ", ".join(names[:limit])
    return first if len(names) <= limit else f"{first} and {len(names) - limit} more"
