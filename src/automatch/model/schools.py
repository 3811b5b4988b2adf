"""Schools of the operator's list, and how people belong to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class School:
    """A school as an operator sees it."""

    name: str
    is_open: bool
    """Whether everybody who names it belongs to it."""
    domains: list[str]
    """A confirmed e-mail address at one of them is a proof."""
    aliases: list[str]
    people: int
    """Who named it in their profile."""
    members: int
    """Who has proven it."""
    requests: int
    invitations: int
    created_at: datetime
    findable: int
    """Who can be found: they take part and have a photo that is searched."""

    @property
    def findable_percent(self) -> int:
        return round(100 * self.findable / self.people) if self.people else 0


@dataclass(frozen=True, slots=True)
class Invitation:
    """A code that proves membership, without the code."""

    id: UUID
    school: str
    uses: int
    max_uses: int | None
    """None for any number of people."""
    expires_at: datetime
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class MembershipRequest:
    """Somebody who asks an operator to be made a member."""

    profile_id: UUID
    email: str | None
    name: str | None
    school: str
    message: str
    requested_at: datetime


@dataclass(frozen=True, slots=True)
class Membership:
    """How far somebody is with the school of their profile."""

    school: str
    is_open: bool
    admitted: bool
    """Whether they take part now."""
    proof: str | None
    domains: list[str]
    settles_at: datetime | None
    """Until when a change of school or gender keeps them out."""
    requested_at: datetime | None
    message: str | None
    """What they asked an operator with."""
    refused_at: datetime | None
    reason: str | None

    @property
    def needs_proof(self) -> bool:
        return not self.is_open and self.proof is None
