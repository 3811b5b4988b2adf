"""`/api/profile`: what a person tells about themselves, their consent, and leaving."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from automatch.errors.auth import TokenInvalidError
from automatch.errors.job import ProfileNotFoundError
from automatch.errors.request import (
    AgeNotAllowedError,
    ChangesUsedError,
    CodeInvalidError,
    ConsentOutdatedError,
    InputInvalidError,
    LastOwnerError,
    ProfileIncompleteError,
    RateLimitedError,
    SchoolUnknownError,
)
from automatch.errors.store import DatabaseUnavailableError
from automatch.http.declaration import Access, DeclaredRoute, declare
from automatch.http.deps import AddressDep, CallerDep, LanguagesDep, ServicesDep
from automatch.http.export import send_export
from automatch.http.responses.accounts import (
    ConsentResponse,
    MembershipResponse,
    ProfileResponse,
    SchoolsResponse,
)
from automatch.http.responses.matches import SharedTexts
from automatch.model.matches import Share
from automatch.services.accounts.rate_limits import Limit
from automatch.services.people.profiles import (
    load_share,
    record_consent,
    save_profile,
    save_share,
    set_discoverable,
)
from automatch.services.validators import ProfileFields, StorableText
from automatch.store.people import profiles

router = APIRouter(prefix="/api/profile", tags=["profile"], route_class=DeclaredRoute)

_READ = (DatabaseUnavailableError, ProfileNotFoundError)


class DiscoverableForm(BaseModel):
    """Whether others may find the caller."""

    model_config = ConfigDict(extra="forbid")

    discoverable: Annotated[bool, Field(strict=True)]


class CodeForm(BaseModel):
    """An invitation code, as it was typed."""

    model_config = ConfigDict(extra="forbid")

    code: StorableText


class RequestForm(BaseModel):
    """What an operator is asked with."""

    model_config = ConfigDict(extra="forbid")

    message: StorableText


class ShareForm(BaseModel):
    """What to share with whom one likes and is liked by: plain text; empty takes it back."""

    model_config = ConfigDict(extra="forbid")

    sentence: StorableText = ""
    handle: StorableText = ""


class ConsentForm(BaseModel):
    """Agreement to the text of one version, as `GET /api/profile/consent` gave it."""

    model_config = ConfigDict(extra="forbid")

    version: StorableText
    granted: bool


@router.get("", summary="Own profile")
@declare(Access.PERSON, errors=_READ)
async def read(caller: CallerDep, services: ServicesDep) -> ProfileResponse:
    """Return the caller's profile."""
    async with services.db.as_user(caller.claims) as conn:
        return ProfileResponse.from_profile(await profiles.load_profile(conn))


@router.put("", summary="Save the profile")
@declare(
    Access.PERSON,
    limits=(Limit.SEARCHES,),
    errors=(
        *_READ,
        InputInvalidError,
        AgeNotAllowedError,
        SchoolUnknownError,
        ChangesUsedError,
    ),
)
async def write(fields: ProfileFields, caller: CallerDep, services: ServicesDep) -> ProfileResponse:
    """Save name, school, gender and birth date; people under 18 are refused.

    The school is one of `/api/profile/schools`, in any spelling. `/api/profile/membership` tells
    what it asks for as a proof.
    """
    profile = await save_profile(services.db, caller.claims, fields, services.settings.limits)
    return ProfileResponse.from_profile(profile)


@router.get("/schools", summary="Schools to choose from")
@declare(Access.PERSON, errors=_READ)
async def read_schools(caller: CallerDep, services: ServicesDep) -> SchoolsResponse:
    """Return the names of the operator's list."""
    async with services.db.as_user(caller.claims) as conn:
        return SchoolsResponse(schools=await profiles.list_schools(conn))


@router.get("/membership", summary="Own membership")
@declare(Access.PERSON, errors=(*_READ, ProfileIncompleteError))
async def read_membership(caller: CallerDep, services: ServicesDep) -> MembershipResponse:
    """Return what the caller's school asks for, and whether they take part."""
    membership = await services.memberships.load(caller.claims)
    return MembershipResponse.from_membership(membership)


@router.put("/membership/code", summary="Join by a code")
@declare(
    Access.PERSON,
    errors=(*_READ, InputInvalidError, CodeInvalidError, ProfileIncompleteError, RateLimitedError),
)
async def join(
    form: CodeForm, caller: CallerDep, address: AddressDep, services: ServicesDep
) -> MembershipResponse:
    """Become a member of the caller's school by an invitation code; wrong ones are counted."""
    membership = await services.memberships.join(caller.claims, form.code, address=address)
    return MembershipResponse.from_membership(membership)


@router.put("/membership/request", summary="Ask an operator")
@declare(Access.PERSON, errors=(*_READ, InputInvalidError, ProfileIncompleteError))
async def ask(form: RequestForm, caller: CallerDep, services: ServicesDep) -> MembershipResponse:
    """Ask an operator to make the caller a member, with a sentence that says who they are."""
    membership = await services.memberships.ask(caller.claims, form.message)
    return MembershipResponse.from_membership(membership)


@router.delete("/membership", status_code=204, summary="Leave the school")
@declare(Access.PERSON, errors=_READ)
async def leave(caller: CallerDep, services: ServicesDep) -> None:
    """Leave the school: nobody there finds the caller, who sees nobody. Photos stay."""
    await services.memberships.leave(caller.claims)


@router.put("/discoverable", summary="Pause, or be found again")
@declare(Access.PERSON, limits=(Limit.SEARCHES,), errors=(*_READ, InputInvalidError))
async def write_discoverable(
    form: DiscoverableForm, caller: CallerDep, services: ServicesDep
) -> ProfileResponse:
    """Set whether searches of others may find the caller.

    Off, the caller leaves the feeds of others at once and keeps photos, matches and the own feed;
    on again, old matches come back and the caller's photos are searched for once more.
    """
    profile = await set_discoverable(services.db, caller.claims, form.discoverable)
    return ProfileResponse.from_profile(profile)


@router.get("/share", summary="What one shares")
@declare(Access.PERSON, errors=_READ)
async def read_share(caller: CallerDep, services: ServicesDep) -> SharedTexts:
    """Return what people see whom the caller likes and who like the caller."""
    return _shared(await load_share(services.db, caller.claims))


@router.put("/share", summary="Change what one shares")
@declare(Access.PERSON, errors=(*_READ, InputInvalidError))
async def write_share(form: ShareForm, caller: CallerDep, services: ServicesDep) -> SharedTexts:
    """Set a sentence and where else to find the caller, for whom they like and is liked by.

    At most 200 and 60 characters, of one line.
    """
    share = Share(form.sentence, form.handle)
    return _shared(await save_share(services.db, caller.claims, share))


@router.get(
    "/export",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
    summary="Download everything",
)
@declare(Access.PERSON, limits=(Limit.EXPORTS,), errors=(*_READ, TokenInvalidError))
async def export(caller: CallerDep, services: ServicesDep) -> Response:
    """Return a ZIP of all that is kept about the caller: `export.json` and their photos."""
    return await send_export(caller, services)


@router.delete("", status_code=204, summary="Erase the account")
@declare(Access.PERSON, errors=(DatabaseUnavailableError, TokenInvalidError, LastOwnerError))
async def erase(caller: CallerDep, services: ServicesDep) -> None:
    """Delete the account with its photos, templates, jobs and matches, on both sides."""
    await services.erasures.erase_own(caller.claims)


@router.get("/consent", summary="Consent text")
@declare(Access.PERSON, errors=_READ)
async def read_consent(
    caller: CallerDep, services: ServicesDep, languages: LanguagesDep
) -> ConsentResponse:
    """Return whether the caller has agreed, with the text, or the one to agree to now."""
    async with services.db.as_user(caller.claims) as conn:
        return ConsentResponse.from_consent(await profiles.load_consent(conn, languages))


@router.put("/consent", summary="Give consent")
@declare(Access.PERSON, errors=(*_READ, InputInvalidError, ConsentOutdatedError))
async def write_consent(
    form: ConsentForm, caller: CallerDep, services: ServicesDep
) -> ConsentResponse:
    """Agree to face matching, or (`granted: false`) withdraw."""
    consent = await record_consent(
        services.db, caller.claims, granted=form.granted, version=form.version
    )
    return ConsentResponse.from_consent(consent)


@router.delete("/consent", status_code=204, summary="Withdraw consent")
@declare(Access.PERSON, errors=_READ)
async def withdraw_consent(caller: CallerDep, services: ServicesDep) -> None:
    """Withdraw; photos, templates, jobs and matches are deleted with it."""
    async with services.db.as_user(caller.claims) as conn:
        await profiles.record_consent(conn, granted=False, version=None)


def _shared(share: Share) -> SharedTexts:
    return SharedTexts(sentence=share.sentence, handle=share.handle)
