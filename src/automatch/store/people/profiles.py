"""Profiles and consents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from uuid import UUID

from psycopg.rows import class_row

from automatch.errors.job import ProfileNotFoundError
from automatch.model.notices import NoticeKind, choose_notice
from automatch.model.people import Consent, ConsentRecord, Gender, Profile
from automatch.sql.statements import load
from automatch.store.call import call, call_value, call_values
from automatch.store.database import Connection
from automatch.store.operators.notices import list_current

_SQL = load("profiles")


async def load_profile(conn: Connection) -> Profile:
    """Return the caller's profile.

    Raises:
        ProfileNotFoundError: the account was deleted and its token has not expired yet.
    """
    async with conn.cursor(row_factory=class_row(Profile)) as cursor:
        await cursor.execute(_SQL["load"])
        profile = await cursor.fetchone()
    if profile is None:
        raise ProfileNotFoundError
    return replace(profile, gender=Gender(profile.gender) if profile.gender else None)


async def set_change_limits(conn: Connection, *, a_year: int, settling_hours: int) -> None:
    """Set by what the saves of this transaction count changes of school and gender."""
    await conn.execute(
        _SQL["set_change_limits"], {"a_year": a_year, "settling_hours": settling_hours}
    )


async def set_address_hash(conn: Connection, address_hash: bytes) -> None:
    """Set under what the erasure of this transaction is recognized when its person comes back."""
    await conn.execute(_SQL["set_address_hash"], {"address_hash": address_hash.hex()})


async def save_profile(
    conn: Connection, *, name: str, school: str, gender: Gender, birth_date: date
) -> None:
    """Save the caller's profile; the school is any spelling of one of the list.

    Raises:
        AgeNotAllowedError: under 18.
        SchoolUnknownError: there is no such school.
        ChangesUsedError: school or gender were changed too often.
    """
    await call(
        conn,
        "save_profile",
        name=name,
        school=school,
        gender=gender.value,
        birth_date=birth_date,
    )


async def set_discoverable(conn: Connection, discoverable: bool) -> None:
    """Set whether others' searches may find the caller; feeds change at once.

    Raises:
        ProfileNotFoundError: the account was deleted and its token has not expired yet.
    """
    await call(conn, "set_discoverable", discoverable=discoverable)


async def set_language(conn: Connection, language: str | None) -> None:
    """Set the language of the caller's pages and mails; None follows their browser.

    Raises:
        ProfileNotFoundError: the account was deleted and its token has not expired yet.
    """
    await call(conn, "set_language", language=language)


async def get_language(conn: Connection, profile_id: UUID) -> str | None:
    """Return the language that a person chose, if they did."""
    language: str | None = await call_value(conn, "get_language", profile_id=profile_id)
    return language


async def load_consent(conn: Connection, languages: Sequence[str] = ()) -> Consent:
    """Return whether the caller agreed to face matching, with the text.

    Args:
        conn: of the caller.
        languages: of a text that is still to be agreed to, the preferred one first.
    """
    async with conn.cursor(row_factory=class_row(Consent)) as cursor:
        await cursor.execute(_SQL["load_consent"])
        consent = await cursor.fetchone()
    if consent is not None and consent.is_current:
        return consent
    notice = choose_notice(await list_current(conn, NoticeKind.CONSENT), languages)
    return Consent(
        version=notice.version,
        text=notice.body,
        language=notice.language,
        granted=consent is not None and consent.granted,
        recorded_at=consent.recorded_at if consent is not None else None,
        outdated=consent is not None and consent.outdated,
    )


async def list_consents(conn: Connection) -> list[ConsentRecord]:
    """Return what the caller consented to and withdrew, newest first."""
    async with conn.cursor(row_factory=class_row(ConsentRecord)) as cursor:
        await cursor.execute(_SQL["list_consents"])
        return await cursor.fetchall()


async def record_consent(conn: Connection, *, granted: bool, version: str | None) -> None:
    """Record that the caller gives or withdraws consent.

    Withdrawing deletes their photos, embeddings, jobs and matches in the same transaction.

    Raises:
        ConsentOutdatedError: *version* is not a current text.
    """
    await call(conn, "record_consent", granted=granted, version=version)


async def list_schools(conn: Connection) -> list[str]:
    return await call_values(conn, "list_schools")
