"""The profile of a person: what they tell about themselves, their consent, whom they hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from automatch.errors.request import NotFoundError
from automatch.model.people import Claims, Consent, HiddenPerson, Profile
from automatch.services.validators import ProfileFields
from automatch.store import feed, profiles
from automatch.store.database import Database


@dataclass(frozen=True, slots=True)
class ProfileOverview:
    """All that the profile page of a person shows."""

    profile: Profile
    consent: Consent
    hidden_people: list[HiddenPerson]
    schools: list[str]
    """Names of schools that are offered while typing."""


async def load_overview(
    db: Database, claims: Claims, languages: Sequence[str] = ()
) -> ProfileOverview:
    """Return what the profile page shows, in the first of these languages that there is.

    Raises:
        ProfileNotFoundError: the account was deleted while its token lives on.
    """
    async with db.as_user(claims) as conn:
        return ProfileOverview(
            profile=await profiles.load_profile(conn),
            consent=await profiles.load_consent(conn, languages),
            hidden_people=await feed.list_hidden(conn),
            schools=await profiles.list_schools(conn),
        )


async def save_profile(db: Database, claims: Claims, fields: ProfileFields) -> Profile:
    """Save the profile and return it as it was kept.

    Raises:
        AgeNotAllowedError: the person is under 18.
    """
    async with db.as_user(claims) as conn:
        await profiles.save_profile(conn, **fields.model_dump())
        return await profiles.load_profile(conn)


async def save_profile_and_consent(
    db: Database, claims: Claims, fields: ProfileFields, consent_version: str | None
) -> Consent:
    """Save the profile and, with a version of the text, the consent, in one transaction.

    Raises:
        AgeNotAllowedError: the person is under 18.
        ConsentOutdatedError: the version is not that of a current text.
    """
    async with db.as_user(claims) as conn:
        await profiles.save_profile(conn, **fields.model_dump())
        if consent_version is not None:
            await profiles.record_consent(conn, granted=True, version=consent_version)
        return await profiles.load_consent(conn)


async def set_discoverable(db: Database, claims: Claims, discoverable: bool) -> Profile:
    """Set whether searches of others may find the person, and return the profile."""
    async with db.as_user(claims) as conn:
        await profiles.set_discoverable(conn, discoverable)
        return await profiles.load_profile(conn)


async def record_consent(db: Database, claims: Claims, *, granted: bool, version: str) -> Consent:
    """Record that the person agrees to the text of a version, or withdraws.

    Raises:
        ConsentOutdatedError: the version is not that of a current text.
    """
    async with db.as_user(claims) as conn:
        await profiles.record_consent(conn, granted=granted, version=version)
        return await profiles.load_consent(conn)


async def unhide_person(db: Database, claims: Claims, profile_id: UUID) -> None:
    """Undo what hides a person, whether they were blocked, dismissed or both.

    Raises:
        NotFoundError: the caller does not hide this person.
    """
    async with db.as_user(claims) as conn:
        hidden_people = await feed.list_hidden(conn)
        person = next((p for p in hidden_people if p.profile_id == profile_id), None)
        if person is None:
            raise NotFoundError
        if person.is_blocked:
            await feed.unblock_profile(conn, profile_id)
        if person.is_dismissed:
            await feed.undo_dismissal(conn, profile_id)
