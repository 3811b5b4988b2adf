"""`/api/profile`: what a person tells about themselves, their consent, and leaving."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from automatch.http.deps import CallerDep, ServicesDep
from automatch.http.validators import Text, shown
from automatch.model.people import Consent, Gender, Profile
from automatch.store import profiles

router = APIRouter(prefix="/api/profile", tags=["profile"])


def _written_out(value: object) -> object:
    # Left alone, pydantic takes any number for a count of seconds.
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        raise PydanticCustomError("date", "Write a date as YYYY-MM-DD")
    return value


class ProfileForm(BaseModel):
    """All that a search needs to know."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), shown
    ]
    school: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120), shown
    ]
    gender: Gender
    birth_date: Annotated[date, BeforeValidator(_written_out)]


class DiscoverableForm(BaseModel):
    """Whether others may find the caller."""

    model_config = ConfigDict(extra="forbid")

    discoverable: Annotated[bool, Field(strict=True)]


class ConsentForm(BaseModel):
    """Agreement to the text of one version, as `GET /api/profile/consent` gave it."""

    model_config = ConfigDict(extra="forbid")

    version: Text
    granted: bool


@router.get("", summary="Own profile")
async def read(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Return the caller's profile."""
    async with services.db.as_user(caller.claims) as conn:
        return _told(await profiles.load_profile(conn))


@router.put("", summary="Save the profile")
async def write(form: ProfileForm, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Save name, school, gender and birth date; people under 18 are refused."""
    async with services.db.as_user(caller.claims) as conn:
        await profiles.save_profile(conn, **form.model_dump())
        return _told(await profiles.load_profile(conn))


@router.put("/discoverable", summary="Pause, or be found again")
async def write_discoverable(
    form: DiscoverableForm, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Set whether searches of others may find the caller.

    Off, the caller leaves the feeds of others at once and keeps photos, matches and the own feed;
    on again, old matches come back and the caller's photos are searched for once more.
    """
    async with services.db.as_user(caller.claims) as conn:
        await profiles.set_discoverable(conn, form.discoverable)
        return _told(await profiles.load_profile(conn))


@router.delete("", status_code=204, summary="Erase the account")
async def erase(caller: CallerDep, services: ServicesDep) -> Response:
    """Delete the account with its photos, templates, jobs and matches, on both sides."""
    await services.accounts.delete(caller.claims)
    return Response(status_code=204)


@router.get("/consent", summary="Consent text")
async def read_consent(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Return the current text, its version, and whether the caller has agreed."""
    async with services.db.as_user(caller.claims) as conn:
        return _told_consent(await profiles.load_consent(conn))


@router.put("/consent", summary="Give consent")
async def write_consent(
    form: ConsentForm, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Agree to face matching, or (`granted: false`) withdraw."""
    async with services.db.as_user(caller.claims) as conn:
        await profiles.record_consent(conn, granted=form.granted, version=form.version)
        return _told_consent(await profiles.load_consent(conn))


@router.delete("/consent", status_code=204, summary="Withdraw consent")
async def withdraw_consent(caller: CallerDep, services: ServicesDep) -> Response:
    """Withdraw; photos, templates, jobs and matches are deleted with it."""
    async with services.db.as_user(caller.claims) as conn:
        await profiles.record_consent(conn, granted=False, version=None)
    return Response(status_code=204)


def _told(profile: Profile) -> dict[str, Any]:
    return {
        "id": str(profile.id),
        "email": profile.email,
        "name": profile.name,
        "school": profile.school,
        "gender": profile.gender,
        "birth_date": profile.birth_date.isoformat() if profile.birth_date else None,
        "profile_type": profile.profile_type,
        "discoverable": profile.discoverable,
    }


def _told_consent(consent: Consent) -> dict[str, Any]:
    return {
        "version": consent.version,
        "text": consent.text,
        "granted": consent.granted,
        "recorded_at": consent.recorded_at.isoformat() if consent.recorded_at else None,
    }
