"""People, and who acts on whose behalf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class Gender(StrEnum):
    """Declared by the person, never guessed from a face."""

    MALE = "male"
    FEMALE = "female"

    @property
    def opposite(self) -> Gender:
        return Gender.FEMALE if self is Gender.MALE else Gender.MALE


class Role(StrEnum):
    """What a token may be: the roles of a Supabase project."""

    ANON = "anon"
    AUTHENTICATED = "authenticated"
    SERVICE = "service_role"


@dataclass(frozen=True, slots=True)
class Claims:
    """Who asks, read from a token whose signature and times were checked."""

    role: Role
    subject: UUID | None = None
    session_id: UUID | None = None
    email: str | None = None
    expires_at: int | None = None
    """Seconds since the epoch."""
    external: bool = False
    """Whether another server signed the token, and keeps the session."""

    def as_json(self) -> dict[str, str | bool]:
        """Return what row level security reads from `request.jwt.claims`."""
        claims: dict[str, str | bool] = {"role": self.role.value}
        if self.external:
            claims["external"] = True
        if self.subject is not None:
            claims["sub"] = str(self.subject)
        if self.session_id is not None:
            claims["session_id"] = str(self.session_id)
        return claims


SERVICE = Claims(role=Role.SERVICE)
"""The system itself, at work for nobody in particular."""


@dataclass(frozen=True, slots=True)
class User:
    """Someone who can sign in."""

    id: UUID
    email: str
    app_metadata: dict[str, Any]
    user_metadata: dict[str, Any]
    created_at: datetime
    last_sign_in_at: datetime | None
    email_confirmed_at: datetime | None = None
    """When somebody came by a link that was mailed to the address."""
    confirmation_sent_at: datetime | None = None
    """When a new account was mailed the link without which nobody signs in to it."""
    signed_in_at: datetime | None = None
    """When the session began that the account was read for."""


@dataclass(frozen=True, slots=True)
class LinkUser:
    """Whom a mailed link is for."""

    user_id: UUID
    email: str
    is_confirmed: bool
    """Whether somebody has shown that the address is theirs."""
    has_password: bool
    """Whether somebody can sign in with a password."""


@dataclass(frozen=True, slots=True)
class EmailChange:
    """A change of an account's address that both addresses have to confirm."""

    user_id: UUID
    old_email: str
    new_email: str


@dataclass(frozen=True, slots=True)
class UserSession:
    """One place where somebody is signed in."""

    created_at: datetime
    refreshed_at: datetime
    """When it was last renewed, which is up to a quarter of an hour before it was last used."""
    is_this: bool
    """Whether it is the one that asks."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a person told about themselves."""

    id: UUID
    email: str | None
    name: str | None
    school: str | None
    gender: Gender | None
    birth_date: date | None
    profile_type: str
    discoverable: bool
    admitted: bool
    """Whether they take part: they belong to their school, and nothing keeps them out."""
    language: str | None = None
    """What they chose; None follows their browser."""

    @property
    def is_complete(self) -> bool:
        return None not in (self.school, self.gender, self.birth_date)


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether a person agreed to face matching, and their text or the one to agree to now."""

    version: str
    text: str
    granted: bool
    recorded_at: datetime | None
    language: str = "en"
    outdated: bool = False
    """Whether they agreed to a text that was replaced since, and are asked again."""

    @property
    def is_current(self) -> bool:
        return self.granted and not self.outdated


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """A consent that was given or withdrawn, with the text that it is about."""

    version: str
    text: str
    granted: bool
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class SmokeTestPair:
    """A woman and a man who do not exist, in a school of their own."""

    id: UUID
    school: str
    her_id: UUID
    his_id: UUID


@dataclass(frozen=True, slots=True)
class HiddenPerson:
    """Somebody whom the caller dismissed or blocked."""

    profile_id: UUID
    name: str | None
    """None while the two could not be matched anyway."""
    is_blocked: bool
    is_dismissed: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """Somebody whom an operator looks for."""

    id: UUID
    email: str | None
    name: str | None
    school: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PersonDetails:
    """What an operator needs to help somebody: neither photos nor templates."""

    id: UUID
    email: str | None
    name: str | None
    school: str | None
    gender: str | None
    created_at: datetime
    last_sign_in_at: datetime | None
    discoverable: bool
    admitted: bool
    """Whether they take part: a member of their school, or it is open, and not frozen."""
    memberships: list[str]
    """School and proof of each."""
    frozen_at: datetime | None
    frozen_reason: str | None
    simulated: bool
    imported: bool
    operator_role: str | None
    consents: bool
    consent_version: str | None
    """Of the newest consent or withdrawal."""
    consent_at: datetime | None
    photos: int
    jobs_waiting: int
    jobs_failed: int
    matches: int
    """Cards in the feed."""
    sessions: int
    suspected_duplicates: int
    """Pairs that wait for a decision."""


@dataclass(frozen=True, slots=True)
class PersonSession:
    """A session of somebody, as an operator sees it."""

    id: UUID
    created_at: datetime
    refreshed_at: datetime
    by_operator: bool
    """Whether it is that of an operator who signed in as this person."""
