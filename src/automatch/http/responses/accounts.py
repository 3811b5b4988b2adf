"""Answers about a person: the account in the form of Supabase Auth, the profile, the consent."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel

from automatch import __version__
from automatch.http.responses import Timestamp
from automatch.model.people import Consent, Gender, HiddenPerson, Profile, User
from automatch.model.schools import Membership
from automatch.services.accounts.accounts import Session


class IdentityData(BaseModel):
    """How an identity names its user."""

    sub: UUID
    email: str


class IdentityResponse(BaseModel):
    """The e-mail address of a user, as a way of signing in."""

    id: UUID
    identity_id: UUID
    user_id: UUID
    identity_data: IdentityData
    provider: Literal["email"] = "email"
    created_at: Timestamp
    last_sign_in_at: Timestamp | None


class UserResponse(BaseModel):
    """An account, with the fields that supabase clients read."""

    id: UUID
    aud: Literal["authenticated"] = "authenticated"
    role: Literal["authenticated"] = "authenticated"
    email: str
    email_confirmed_at: Timestamp | None
    phone: Literal[""] = ""
    app_metadata: dict[str, Any]
    user_metadata: dict[str, Any]
    identities: list[IdentityResponse]
    """Never empty: clients take an account without any for one that existed before."""
    is_anonymous: Literal[False] = False
    created_at: Timestamp
    last_sign_in_at: Timestamp | None
    confirmation_sent_at: Timestamp | None = None
    """Set when nobody is signed in before a mailed link is used."""

    @classmethod
    def from_user(cls, user: User) -> Self:
        """Return the answer about an account."""
        return cls(
            id=user.id,
            email=user.email,
            email_confirmed_at=user.email_confirmed_at,
            app_metadata=user.app_metadata,
            user_metadata=user.user_metadata,
            identities=[
                IdentityResponse(
                    id=user.id,
                    identity_id=user.id,
                    user_id=user.id,
                    identity_data=IdentityData(sub=user.id, email=user.email),
                    created_at=user.created_at,
                    last_sign_in_at=user.last_sign_in_at,
                )
            ],
            created_at=user.created_at,
            last_sign_in_at=user.last_sign_in_at,
            confirmation_sent_at=user.confirmation_sent_at,
        )


class SessionResponse(BaseModel):
    """A session: the tokens, and whose they are."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  the name of a scheme
    expires_in: int
    """Seconds. There is no `expires_at`: a client whose clock is wrong would misread it."""
    refresh_token: str
    user: UserResponse

    @classmethod
    def from_session(cls, session: Session) -> Self:
        """Return the answer to somebody who signed in just now."""
        return cls(
            access_token=session.access_token,
            expires_in=session.expires_in,
            refresh_token=session.refresh_token,
            user=UserResponse.from_user(session.user),
        )


class SignInProviders(BaseModel):
    """The ways to sign in."""

    email: bool = True
    phone: bool = False
    anonymous_users: bool = False


class EmailChangeResponse(BaseModel):
    """The answer to the first of two links."""

    code: Literal[200] = 200
    msg: str = "Now use the link in the mail to the other address too."


class AuthSettingsResponse(BaseModel):
    """What sign-in offers: passwords, and mailed links."""

    external: SignInProviders = SignInProviders()
    disable_signup: bool = False
    mailer_autoconfirm: bool
    """Whether people are signed in as soon as they sign up."""
    phone_autoconfirm: bool = False
    saml_enabled: bool = False


class EmptyResponse(BaseModel):
    """An answer that tells nothing."""


class AuthHealthResponse(BaseModel):
    """What answers below `/auth/v1`."""

    name: str = "Auto-Match"
    version: str = __version__
    description: str = "Sign-in of Auto-Match"


class ProfileResponse(BaseModel):
    """A profile, as its owner sees it."""

    id: UUID
    email: str | None
    name: str | None
    school: str | None
    gender: Gender | None
    birth_date: date | None
    profile_type: str
    discoverable: bool
    admitted: bool

    @classmethod
    def from_profile(cls, profile: Profile) -> Self:
        """Return the answer about a profile."""
        return cls.model_validate(profile, from_attributes=True)


class SchoolsResponse(BaseModel):
    """The schools to choose from."""

    schools: list[str]


class MembershipResponse(BaseModel):
    """What the caller's school asks for, and how far they are with it."""

    school: str
    is_open: bool
    admitted: bool
    proof: str | None
    domains: list[str]
    settles_at: Timestamp | None
    requested_at: Timestamp | None
    message: str | None
    refused_at: Timestamp | None
    reason: str | None

    @classmethod
    def from_membership(cls, membership: Membership) -> Self:
        """Return the answer about a membership."""
        return cls.model_validate(membership, from_attributes=True)


class ConsentResponse(BaseModel):
    """Whether the caller has agreed to face matching, with the text, or the one to agree to now."""

    version: str
    language: str
    text: str
    granted: bool
    outdated: bool
    """Whether the caller agreed to a text that was replaced since, and is asked again."""
    recorded_at: Timestamp | None

    @classmethod
    def from_consent(cls, consent: Consent) -> Self:
        """Return the answer about a consent."""
        return cls.model_validate(consent, from_attributes=True)


class HiddenProfile(BaseModel):
    """Somebody whom the caller hides; without a name while the two cannot be matched anyway."""

    id: UUID
    name: str | None


class HiddenPersonResponse(BaseModel):
    """Somebody whom the caller hides, and how."""

    profile: HiddenProfile
    blocked: bool
    dismissed: bool
    since: Timestamp


class HiddenPeopleResponse(BaseModel):
    """Whom the caller hides, newest first."""

    people: list[HiddenPersonResponse]

    @classmethod
    def from_people(cls, people: Iterable[HiddenPerson]) -> Self:
        """Return the answer about the people whom somebody hides."""
        return cls(
            people=[
                HiddenPersonResponse(
                    profile=HiddenProfile(id=person.profile_id, name=person.name),
                    blocked=person.is_blocked,
                    dismissed=person.is_dismissed,
                    since=person.since,
                )
                for person in people
            ]
        )


class KeySetResponse(BaseModel):
    """Public keys, as RFC 7517 writes them."""

    keys: list[dict[str, str]]
