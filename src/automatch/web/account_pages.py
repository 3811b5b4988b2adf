"""Pages of the account: sign-in, sign-up, sign-out, profile and consent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from automatch.errors import AutomatchError
from automatch.errors.request import (
    AgeNotAllowedError,
    CodeInvalidError,
    EmailTakenError,
    InputInvalidError,
    PasswordCommonError,
    PasswordWeakError,
    RateLimitedError,
    RequestError,
    SchoolUnknownError,
)
from automatch.http.declaration import Access, declare
from automatch.http.deps import (
    AddressDep,
    Caller,
    CallerDep,
    LanguagesDep,
    Services,
    ServicesDep,
    claims_of,
)
from automatch.services.profiles import (
    load_overview,
    save_profile_and_consent,
)
from automatch.services.rate_limits import Limit
from automatch.services.validators import ProfileFields, latest_adult_birth_date
from automatch.store import profiles
from automatch.web.account_views import OnboardingPage, ProfileForm, SignInPage, SignUpPage
from automatch.web.console.frame import own_address
from automatch.web.language import gettext
from automatch.web.language import gettext_noop as _
from automatch.web.pages import (
    PageRoute,
    go_to,
    is_signed_in,
    read_form,
    show,
    signed_in,
    text_of,
)
from automatch.web.session import CookieSession
from automatch.web.templating import Problem

INVITATION_COOKIE = "automatch_invitation"
"""Keeps the code of a link while somebody creates an account."""

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_FIELD_OF = {
    EmailTakenError: "email",
    InputInvalidError: "email",
    PasswordWeakError: "password",
    PasswordCommonError: "password",
}
_FIELD_AT_FAULT = {
    AgeNotAllowedError: "birth_date",
    SchoolUnknownError: "school",
    CodeInvalidError: "code",
}
_NOTICES = {
    "asked": _("We've passed on your request."),
    "left": _("You've left your school."),
    "paused": _("You're hidden until you turn this back on."),
    "resumed": _("Others can find you again."),
    "withdrawn": _("Your consent is withdrawn. Your photos and matches are deleted."),
    "ended": _("You were signed out. Sign in again, and your photo is sent."),
}
_FIELD_MESSAGES = {
    "name": _("Enter the name other people will see."),
    "school": _("Choose your school."),
    "gender": _("Choose female or male."),
    "birth_date": _("Enter your birth date."),
}


@router.get("/sign-in")
@declare(Access.PAGE_COOKIE)
async def sign_in_form(
    request: Request, services: ServicesDep, done: str = "", to: str = ""
) -> Response:
    """Show the sign-in form."""
    services.accounts.check_local_sign_in()
    if is_signed_in(request):
        return go_to(own_address(to) if to else "/feed")
    return show(SignInPage(notice=_notice(done), to=to))


@router.post("/sign-in")
@declare(Access.PAGE_COOKIE)
async def sign_in(request: Request, address: AddressDep, services: ServicesDep) -> Response:
    """Sign in and go to the feed, or to the page of the console that was asked for."""
    form = await read_form(request)
    email, to = text_of(form, "email"), text_of(form, "to")
    try:
        session = await services.accounts.sign_in(email, text_of(form, "password"), address=address)
    except AutomatchError as exc:
        problem = Problem.of(exc)
        sends_mail = services.mailed_links.sends_mail
        page = SignInPage(email=email, problem=problem, sends_mail=sends_mail, to=to)
        return show(page, exc)
    return signed_in(services, session, own_address(to) if to else "/feed")


@router.get("/sign-up")
@declare(Access.PAGE_COOKIE)
async def sign_up_form(request: Request, services: ServicesDep, done: str = "") -> Response:
    """Show the form for an account."""
    services.accounts.check_local_sign_in()
    if is_signed_in(request):
        return go_to("/feed")
    sends_mail = services.mailed_links.sends_mail
    return show(SignUpPage(notice=_notice(done), sends_mail=sends_mail))


@router.post("/sign-up")
@declare(Access.PAGE_COOKIE, limits=(Limit.SIGN_UP,))
async def sign_up(request: Request, address: AddressDep, services: ServicesDep) -> Response:
    """Create an account and continue with the profile, or with the link that is mailed.

    Where mail is sent, the page says the same for an address that has an account.
    """
    form = await read_form(request)
    email = text_of(form, "email")
    sends_mail = services.mailed_links.sends_mail
    try:
        if sends_mail:
            await services.mailed_links.sign_up(email, None, address=address)
            return show(SignUpPage(email=email, sends_mail=True, asked=True))
        session = await services.accounts.sign_up(email, text_of(form, "password"), address=address)
    except RequestError as exc:
        problem = Problem.of(exc, _FIELD_OF.get(type(exc)))
        return show(SignUpPage(email=email, problem=problem, sends_mail=sends_mail), exc)
    return signed_in(services, session)


@router.post("/sign-out")
@declare(Access.PAGE_COOKIE)
async def sign_out(request: Request, services: ServicesDep) -> Response:
    """End the session."""
    if is_signed_in(request):
        await services.accounts.sign_out(claims_of(request))
    return CookieSession(services).clear(go_to("/sign-in"))


@router.get("/onboarding")
@declare(Access.PAGE_COOKIE)
async def profile_form(
    *,
    request: Request,
    caller: CallerDep,
    address: AddressDep,
    services: ServicesDep,
    languages: LanguagesDep,
    saved: bool = False,
    done: str = "",
) -> Response:
    """Show the profile and the consent."""
    page = await profile_page(caller, services, languages, saved=saved)
    code = request.cookies.get(INVITATION_COOKIE, "")
    if code and (page.membership is None or page.membership.needs_proof):
        with suppress(CodeInvalidError, RateLimitedError):
            school = await services.memberships.find_school(code, address=address)
            form = replace(page.form, code=code, school=page.form.school or school)
            page = replace(page, form=form)
    notice = _notice(done)
    if done == "joined" and page.membership and not page.membership.needs_proof:
        notice = gettext("You're in: %(school)s.", school=page.membership.school)
    return show(replace(page, notice=notice))


@router.post("/onboarding")
@declare(Access.PAGE_COOKIE, limits=(Limit.SEARCHES,))
async def save_profile(
    request: Request,
    caller: CallerDep,
    address: AddressDep,
    services: ServicesDep,
    languages: LanguagesDep,
) -> Response:
    """Save the profile and, if its box is checked, the consent, in one transaction."""
    form = await read_form(request)
    typed_values = ProfileForm(
        **{name: text_of(form, name) for name in ("name", "school", "gender", "birth_date", "code")}
    )
    try:
        fields = ProfileFields.model_validate_strings(
            {name: getattr(typed_values, name) for name in ProfileFields.model_fields}
        )
        consent = await save_profile_and_consent(
            services.db,
            caller.claims,
            fields,
            services.settings.limits,
            text_of(form, "consent") or None,
        )
        membership = await services.memberships.load(caller.claims)
        if typed_values.code and membership.needs_proof:
            membership = await services.memberships.join(
                caller.claims, typed_values.code, address=address
            )
    except ValidationError as exc:
        field = str(exc.errors()[0]["loc"][0])
        problem = Problem("input_invalid", gettext(_FIELD_MESSAGES[field]), field)
        return show(
            await profile_page(caller, services, languages, form=typed_values, problem=problem),
            InputInvalidError(),
        )
    except RequestError as exc:
        problem = Problem.of(exc, _FIELD_AT_FAULT.get(type(exc)))
        page = await profile_page(caller, services, languages, form=typed_values, problem=problem)
        return show(page, exc)
    may_look = consent.is_current and not membership.needs_proof and membership.settles_at is None
    return go_to("/feed" if may_look else "/onboarding?saved=true")


@router.post("/pause")
@declare(Access.PAGE_COOKIE)
async def pause(caller: CallerDep, services: ServicesDep) -> Response:
    """Hide from the feeds of others, without deleting anything."""
    async with services.db.as_user(caller.claims) as conn:
        await profiles.set_discoverable(conn, False)
    return go_to("/onboarding?done=paused#being-found")


@router.post("/resume")
@declare(Access.PAGE_COOKIE, limits=(Limit.SEARCHES,))
async def resume(caller: CallerDep, services: ServicesDep) -> Response:
    """Appear in the feeds of others again."""
    async with services.db.as_user(caller.claims) as conn:
        await profiles.set_discoverable(conn, True)
    return go_to("/onboarding?done=resumed#being-found")


def _notice(done: str) -> str | None:
    return gettext(_NOTICES[done]) if done in _NOTICES else None


async def profile_page(
    caller: Caller,
    services: Services,
    languages: Sequence[str],
    *,
    form: ProfileForm | None = None,
    problem: Problem | None = None,
    saved: bool = False,
) -> OnboardingPage:
    """Return the profile page of a person, with *form* as they typed it."""
    overview = await load_overview(services.db, caller.claims, languages)
    return OnboardingPage(
        person_id=caller.id,
        uploads_allowed=overview.consent.is_current and overview.profile.is_complete,
        form=form or ProfileForm.from_profile(overview.profile),
        consent=overview.consent,
        latest_birth_date=latest_adult_birth_date(),
        schools=overview.schools,
        membership=overview.membership,
        hidden=overview.hidden_people,
        discoverable=overview.profile.discoverable,
        sends_mail=services.mailed_links.sends_mail,
        first_time=not overview.profile.is_complete,
        saved=saved,
        problem=problem,
    )
