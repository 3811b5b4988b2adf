"""Pages of the account: sign-in, sign-up, sign-out, profile and consent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

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
from automatch.services.accounts.rate_limits import Limit
from automatch.services.operators.roles import is_operator
from automatch.services.people.profiles import (
    load_overview,
    save_profile_and_consent,
)
from automatch.services.validators import ProfileFields, latest_adult_birth_date
from automatch.web.accounts.account_views import (
    DetailsPage,
    MembershipPage,
    OnboardingPage,
    ProfileForm,
    SignInPage,
    SignUpPage,
)
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

_Page = TypeVar("_Page", bound=OnboardingPage)

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
    "saved": _("Saved."),
    "ended": _("You were signed out. Sign in again, and we'll send your photo."),
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
async def onboarding(
    *,
    request: Request,
    caller: CallerDep,
    address: AddressDep,
    services: ServicesDep,
    languages: LanguagesDep,
    done: str = "",
) -> Response:
    """Ask a new person four questions and for their consent."""
    page = await profile_page(OnboardingPage, caller, services, languages)
    if page.is_complete:
        return go_to("/profile")
    page = await _with_invitation(page, request, address, services)
    # Whoever was given a role need not be a student.
    leads_to_console = await is_operator(services.db, caller.claims)
    return show(replace(page, notice=_notice(done), is_operator=leads_to_console))


@router.get("/profile/details")
@declare(Access.PAGE_COOKIE)
async def details(caller: CallerDep, services: ServicesDep, languages: LanguagesDep) -> Response:
    """Show what the person has told about themselves, to change it."""
    page = await profile_page(DetailsPage, caller, services, languages)
    return show(page) if page.is_complete else go_to("/onboarding")


@router.get("/profile/school")
@declare(Access.PAGE_COOKIE)
async def school(
    *,
    request: Request,
    caller: CallerDep,
    address: AddressDep,
    services: ServicesDep,
    languages: LanguagesDep,
    done: str = "",
) -> Response:
    """Show how far the person is with their school."""
    page = await profile_page(MembershipPage, caller, services, languages)
    if not page.is_complete:
        return go_to("/onboarding")
    page = await _with_invitation(page, request, address, services)
    notice = _notice(done)
    if done == "joined" and page.membership and not page.membership.needs_proof:
        notice = gettext("You're in: %(school)s.", school=page.membership.school)
    return show(replace(page, notice=notice))


@router.post("/onboarding")
@declare(Access.PAGE_COOKIE, limits=(Limit.SEARCHES,))
async def finish_onboarding(
    request: Request,
    caller: CallerDep,
    address: AddressDep,
    services: ServicesDep,
    languages: LanguagesDep,
) -> Response:
    """Save the profile and, if its box is checked, the consent."""
    return await _save(
        OnboardingPage,
        request=request,
        caller=caller,
        address=address,
        services=services,
        languages=languages,
    )


@router.post("/profile/details")
@declare(Access.PAGE_COOKIE, limits=(Limit.SEARCHES,))
async def change_details(
    request: Request,
    caller: CallerDep,
    address: AddressDep,
    services: ServicesDep,
    languages: LanguagesDep,
) -> Response:
    """Save the profile."""
    return await _save(
        DetailsPage,
        request=request,
        caller=caller,
        address=address,
        services=services,
        languages=languages,
    )


async def _save(
    kind: type[OnboardingPage],
    *,
    request: Request,
    caller: Caller,
    address: str,
    services: Services,
    languages: Sequence[str],
) -> Response:
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
        page = await profile_page(
            kind, caller, services, languages, form=typed_values, problem=problem
        )
        return show(page, InputInvalidError())
    except RequestError as exc:
        problem = Problem.of(exc, _FIELD_AT_FAULT.get(type(exc)))
        page = await profile_page(
            kind, caller, services, languages, form=typed_values, problem=problem
        )
        return show(page, exc)
    if membership.needs_proof or membership.settles_at is not None:
        return go_to("/profile/school?done=saved")
    if not consent.is_current:
        return go_to("/profile/consent?done=answered")
    return go_to("/feed" if kind is OnboardingPage else "/profile?done=saved")


def _notice(done: str) -> str | None:
    return gettext(_NOTICES[done]) if done in _NOTICES else None


async def profile_page(
    kind: type[_Page],
    caller: Caller,
    services: Services,
    languages: Sequence[str],
    *,
    form: ProfileForm | None = None,
    problem: Problem | None = None,
) -> _Page:
    """Return a page of this kind of a person, with *form* as they typed it."""
    overview = await load_overview(services.db, caller.claims, languages)
    return kind(
        person_id=caller.id,
        uploads_allowed=overview.consent.is_current and overview.profile.is_complete,
        form=form or ProfileForm.from_profile(overview.profile),
        is_complete=overview.profile.is_complete,
        consent=overview.consent,
        latest_birth_date=latest_adult_birth_date(),
        schools=overview.schools,
        membership=overview.membership,
        sends_mail=services.mailed_links.sends_mail,
        problem=problem,
    )


async def _with_invitation(
    page: _Page, request: Request, address: str, services: Services
) -> _Page:
    code = request.cookies.get(INVITATION_COOKIE, "")
    if code and (page.membership is None or page.membership.needs_proof):
        with suppress(CodeInvalidError, RateLimitedError):
            school = await services.memberships.find_school(code, address=address)
            form = replace(page.form, code=code, school=page.form.school or school)
            return replace(page, form=form)
    return page
