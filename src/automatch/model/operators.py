"""Operators: people who run the installation, and the log of what they do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from automatch.model.people import Claims


class OperatorRole(StrEnum):
    """What an operator may do; each role may do what those before it may."""

    VIEWER = "viewer"
    MODERATOR = "moderator"
    OPERATOR = "operator"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        return list(OperatorRole).index(self)


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts as an operator."""

    role: OperatorRole
    actor: str
    """The name in the audit log, which is none of a person."""
    id: UUID | None = None
    """The operator's own account; None of whoever has the machine."""
    password_entered_at: datetime | None = None
    """When they last entered their password in this session."""
    claims: Claims | None = None
    """The session, which may end while a request lasts; None of whoever has the machine."""

    @classmethod
    def of_machine(cls, actor: str) -> Self:
        """Return whoever has the machine or the key of the project, and may do everything."""
        return cls(OperatorRole.OWNER, actor)


@dataclass(frozen=True, slots=True)
class OperatorAccount:
    """A person with a role."""

    id: UUID
    email: str | None
    name: str | None
    role: OperatorRole
    since: datetime


@dataclass(frozen=True, slots=True)
class ActPerson:
    """Somebody whom an act of an operator concerns."""

    profile_id: UUID
    role: OperatorRole | None
    is_subject: bool
    """Whether the act is about them; else they are a side of its case."""


@dataclass(frozen=True, slots=True)
class Impersonation:
    """When an operator signed in as a person, and why."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What an operator did or looked at."""

    id: int
    recorded_at: datetime
    actor: str
    """`operator:` with an id, or who somebody with the machine or a key said they were."""
    action: str
    object_id: UUID | None
    """The person, photo or case that it was about."""
    reason: str | None
    details: dict[str, Any]
