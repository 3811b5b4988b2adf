"""Cases: reports, take-down requests, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class ReportReason(StrEnum):
    """Why somebody reports a person or a photo."""

    NOT_THEIR_PHOTO = "not_their_photo"
    """The photo shows somebody else than the account is of."""
    UNDER_18 = "under_18"
    HARASSMENT = "harassment"
    FAKE = "fake"
    OTHER = "other"


class CaseState(StrEnum):
    """Where a case is."""

    UNPROVEN = "unproven"
    """A take-down request whose address nobody has proven yet."""
    OPEN = "open"
    WAITING = "waiting"
    """An operator waits for an answer of one side."""
    DECIDED = "decided"


class CaseAct(StrEnum):
    """What an operator may decide."""

    HIDE = "hide"
    UNHIDE = "unhide"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    ERASE_PHOTO = "erase_photo"
    ERASE_PERSON = "erase_person"
    DISMISS = "dismiss"
    CLOSE = "close"


class CaseSide(StrEnum):
    """Whom a message of a case is for, or who wrote it."""

    REPORTER = "reporter"
    REPORTED = "reported"
    OPERATOR = "operator"
    OPERATORS = "operators"


@dataclass(frozen=True, slots=True)
class ShownPerson:
    """Somebody who is or was in the caller's feed."""

    profile_id: UUID
    name: str | None
    """None, as the photo, once their card is gone."""
    face_id: UUID | None


@dataclass(frozen=True, slots=True)
class OwnCase:
    """A case as one of its two sides sees it."""

    id: UUID
    side: CaseSide
    reason: ReportReason
    state: CaseState
    decision: str | None
    effect: str | None
    """For whoever is reported: `hidden` or `frozen`, as long as that lasts."""
    face_id: UUID | None
    opened_at: datetime
    may_write: bool
    """Whether this side may still answer, or appeal."""


@dataclass(frozen=True, slots=True)
class OwnMessage:
    """What one side of a case wrote, or was answered."""

    case_id: UUID
    author: CaseSide
    body: str
    written_at: datetime


@dataclass(frozen=True, slots=True)
class _CaseFields:
    id: UUID
    kind: str
    reason: ReportReason
    state: CaseState
    opened_at: datetime
    hides: bool
    """Whether the photo is hidden, or the person frozen, now."""
    decision: str | None
    decided_at: datetime | None
    decided_by: str | None
    appealed_at: datetime | None
    profile_id: UUID | None
    """None once the person is erased, and for a request that names nobody we know."""
    face_id: UUID | None


@dataclass(frozen=True, slots=True)
class Case(_CaseFields):
    """A line of the operators' inbox."""

    others: int
    """Other cases about the same person."""


@dataclass(frozen=True, slots=True)
class CaseDetails(_CaseFields):
    """A case with the person it is about."""

    reporter_id: UUID | None
    name: str | None
    school: str | None
    gender: str | None
    birth_date: date | None
    frozen: bool
    face_ids: list[UUID]
    hidden_face_ids: list[UUID]
    banned: bool
    """Whether their address was banned in this case."""


@dataclass(frozen=True, slots=True)
class CaseMessage:
    """What was written in a case."""

    author: CaseSide
    audience: CaseSide
    actor: str | None
    """The operator who wrote it."""
    body: str
    written_at: datetime


@dataclass(frozen=True, slots=True)
class CaseViewer:
    """Somebody to whom the person of a case was shown."""

    profile_id: UUID
    shown_at: datetime
    is_shown: bool
    """Whether the card is still there."""
    seen_at: datetime | None
    """When they were sent a photo of the person last, of those that are still there."""


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """A look or an act of an operator."""

    recorded_at: datetime
    actor: str
    action: str
    reason: str | None
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CaseRecipient:
    """How one side of a case is reached by mail."""

    profile_id: UUID | None
    email: str | None
    address: str | None
    """Encrypted, of somebody without an account."""


@dataclass(frozen=True, slots=True)
class LinkedCase:
    """A case as whoever asked for it without an account sees it, by a mailed link."""

    id: UUID
    reason: ReportReason
    state: CaseState
    decision: str | None
    opened_at: datetime
    may_write: bool
