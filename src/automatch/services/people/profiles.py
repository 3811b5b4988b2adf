"""The profile of a person: what they tell about themselves, their consent, whom they hide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from automatch.errors.photo import HELD_CODES, PhotoRefusedError
from automatch.errors.request import InputInvalidError, NotFoundError
from automatch.model.faces import Face
from automatch.model.matches import Share
from automatch.model.people import Claims, Consent, ConsentRecord, HiddenPerson, Profile
from automatch.model.schools import Membership
from automatch.services.validators import ProfileFields, has_controls
from automatch.settings.limits import LimitSettings
from automatch.store.database import Connection, Database
from automatch.store.matching import feed
from automatch.store.people import profiles, schools
from automatch.store.photos import faces, photo_views
from automatch.store.photos.photo_views import PhotoViewCounts, PhotoViewsOfWeek
from automatch.store.queue import jobs

_UNLIMITED = 1_000_000
_UNSEEN = {*HELD_CODES, PhotoRefusedError.code}
"""What the job of a photo says that nobody else is shown."""


@dataclass(frozen=True, slots=True)
class ProfileOverview:
    """What the form about a person is filled in with, and what they agreed to."""

    profile: Profile
    consent: Consent
    schools: list[str]
    """Names of the schools to choose from."""
    membership: Membership | None
    """How far they are with the school they chose."""


async def load_overview(
    db: Database, claims: Claims, languages: Sequence[str] = ()
) -> ProfileOverview:
    """Return what the form shows, the text of the consent in the first of these languages.

    Raises:
        ProfileNotFoundError: the account was deleted while its token lives on.
    """
    async with db.as_user(claims) as conn:
        return ProfileOverview(
            profile=await profiles.load_profile(conn),
            consent=await profiles.load_consent(conn, languages),
            schools=await profiles.list_schools(conn),
            membership=await schools.load_membership(conn),
        )


@dataclass(frozen=True, slots=True)
class ProfileShown:
    """What a person has told, and what becomes of it, for the pages about that."""

    profile: Profile
    consent: Consent
    consents: list[ConsentRecord] = field(default_factory=list)
    """All that were given and withdrawn, newest first."""
    membership: Membership | None = None
    photo: Face | None = None
    """The newest one that others can be shown."""
    share: Share = field(default_factory=Share)
    hidden_people: list[HiddenPerson] = field(default_factory=list)
    views: PhotoViewCounts = field(default_factory=lambda: PhotoViewCounts("0", "0", 0))
    weeks: list[PhotoViewsOfWeek] = field(default_factory=list)


async def _load_photo(conn: Connection) -> Face | None:
    newest = {job.face_id: job for job in reversed(await jobs.list_jobs(conn, 100))}
    unseen = {face_id for face_id, job in newest.items() if job.error_code in _UNSEEN}
    own_faces = await faces.list_faces(conn)
    return next((f for f in own_faces if f.embedding_model and f.id not in unseen), None)


_PARTS: dict[str, Callable[[Connection], Awaitable[Any]]] = {
    "consents": profiles.list_consents,
    "membership": schools.load_membership,
    "photo": _load_photo,
    "share": feed.load_share,
    "hidden_people": feed.list_hidden,
    "views": photo_views.count_views,
    "weeks": photo_views.list_weeks,
}


async def load_shown(
    db: Database, claims: Claims, parts: Collection[str], languages: Sequence[str] = ()
) -> ProfileShown:
    """Return profile and consent of a person, in the first of these languages, and some *parts*.

    Raises:
        ProfileNotFoundError: the account was deleted while its token lives on.
    """
    async with db.as_user(claims) as conn:
        return ProfileShown(
            profile=await profiles.load_profile(conn),
            consent=await profiles.load_consent(conn, languages),
            **{part: await _PARTS[part](conn) for part in parts},
        )


async def save_profile(
    db: Database, claims: Claims, fields: ProfileFields, limits: LimitSettings
) -> Profile:
    """Save the profile and return it as it was kept.

    Raises:
        AgeNotAllowedError: the person is under 18.
        SchoolUnknownError: there is no such school.
        ChangesUsedError: school or gender were changed too often.
    """
    async with db.as_user(claims) as conn:
        await _save(conn, fields, limits)
        return await profiles.load_profile(conn)


async def save_profile_and_consent(
    db: Database,
    claims: Claims,
    fields: ProfileFields,
    limits: LimitSettings,
    consent_version: str | None,
) -> Consent:
    """Save the profile and, with a version of the text, the consent, in one transaction.

    Raises:
        AgeNotAllowedError: the person is under 18.
        SchoolUnknownError: there is no such school.
        ChangesUsedError: school or gender were changed too often.
        ConsentOutdatedError: the version is not that of a current text.
    """
    async with db.as_user(claims) as conn:
        await _save(conn, fields, limits)
        if consent_version is not None:
            await profiles.record_consent(conn, granted=True, version=consent_version)
        return await profiles.load_consent(conn)


async def _save(conn: Connection, fields: ProfileFields, limits: LimitSettings) -> None:
    if limits.enabled:
        a_year, settling_hours = limits.changes_a_year, limits.settling_hours
    else:
        a_year, settling_hours = _UNLIMITED, 0
    await profiles.set_change_limits(conn, a_year=a_year, settling_hours=settling_hours)
    await profiles.save_profile(conn, **fields.model_dump())


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


async def load_share(db: Database, claims: Claims) -> Share:
    """Return what a person shares with whom they like and who likes them."""
    async with db.as_user(claims) as conn:
        return await feed.load_share(conn)


async def save_share(db: Database, claims: Claims, share: Share) -> Share:
    """Set what a person shares, as plain text of one line; empty texts take it back.

    Raises:
        InputInvalidError: a text is too long, or has other characters.
    """
    share = Share(_one_line(share.sentence), _one_line(share.handle))
    async with db.as_user(claims) as conn:
        await feed.save_share(conn, share)
        return await feed.load_share(conn)


def _one_line(text: str | None) -> str:
    line = " ".join((text or "").split())
    if has_controls(line):
        raise InputInvalidError("Some of these characters are not allowed. Use plain text.")
    return line


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
