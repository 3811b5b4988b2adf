"""The page of password and sessions."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors import AutomatchError
from automatch.errors.auth import CredentialsInvalidError, TokenInvalidError
from automatch.errors.request import RateLimitedError
from automatch.http.declaration import Access, declare
from automatch.http.deps import AddressDep, Caller, CallerDep, Services, ServicesDep
from automatch.mail.message import MailKind
from automatch.services.accounts.impersonation import list_own_impersonations
from automatch.services.accounts.rate_limits import Limit
from automatch.services.operators.roles import is_operator
from automatch.web.accounts.sign_in_settings_views import SignInSettingsPage
from automatch.web.language import gettext
from automatch.web.language import gettext_noop as _
from automatch.web.pages import PageRoute, go_to, read_form, show, text_of
from automatch.web.templating import Problem

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_NOTICES = {
    "email": _("We've sent a link to your old and your new address. Confirm both."),
    "new_email": _("We've sent a link to your new address. Confirm it there."),
    "asked": _(
        "We've noted the change, but this site can't send e-mail. Ask whoever runs it for "
        "the links that confirm it."
    ),
    "confirm": _("We've sent you a link. It can take a minute. Look in your spam folder too."),
    "asked_to_confirm": _(
        "We've noted it, but this site can't send e-mail. Ask whoever runs it for the link."
    ),
    "confirmed": _("Your e-mail address is confirmed."),
    "password": _("Your password is changed. You were signed out everywhere else."),
    "others": _("You were signed out everywhere else."),
}


@router.get("/account")
@declare(Access.PAGE_COOKIE)
async def sign_in_settings(caller: CallerDep, services: ServicesDep, done: str = "") -> Response:
    """Show where the person is signed in, and the form for a new password."""
    return show(
        await _page(caller, services, notice=gettext(_NOTICES[done]) if done in _NOTICES else None)
    )


@router.post("/account/password")
@declare(Access.PAGE_COOKIE)
async def change_password(
    request: Request, caller: CallerDep, address: AddressDep, services: ServicesDep
) -> Response:
    """Change the password, which needs the current one and ends all other sessions."""
    form = await read_form(request)
    try:
        await services.accounts.update(
            caller.claims,
            password=text_of(form, "password"),
            current_password=text_of(form, "current_password"),
            address=address,
        )
    except AutomatchError as exc:
        return await _show_refusal(caller, services, exc, "password", "current_password")
    return go_to("/account?done=password")


@router.post("/account/email")
@declare(Access.PAGE_COOKIE)
async def change_email(
    request: Request, caller: CallerDep, address: AddressDep, services: ServicesDep
) -> Response:
    """Ask both addresses by mail whether the account may change to the new one."""
    form = await read_form(request)
    try:
        await services.mailed_links.request_email_change(
            caller.claims,
            text_of(form, "new_email"),
            text_of(form, "email_password"),
            address=address,
        )
    except AutomatchError as exc:
        return await _show_refusal(caller, services, exc, "new_email", "email_password")
    if not services.mailed_links.sends_mail:
        return go_to("/account?done=asked")
    user = await services.accounts.load_user(caller.claims)
    return go_to(f"/account?done={'email' if user.email_confirmed_at else 'new_email'}")


@router.post("/account/confirm")
@declare(Access.PAGE_COOKIE, limits=(Limit.MAILED_LINKS,))
async def send_confirmation(caller: CallerDep, services: ServicesDep) -> Response:
    """Mail the link that confirms the address again."""
    user = await services.accounts.load_user(caller.claims)
    try:
        await services.mailed_links.request(MailKind.SIGN_UP, user.email)
    except RateLimitedError as exc:
        return show(await _page(caller, services, problem=Problem.of(exc)), exc)
    done = "confirm" if services.mailed_links.sends_mail else "asked_to_confirm"
    return go_to(f"/account?done={done}")


@router.post("/account/sign-out-others")
@declare(Access.PAGE_COOKIE)
async def sign_out_others(caller: CallerDep, services: ServicesDep) -> Response:
    """End all other sessions."""
    await services.accounts.sign_out(caller.claims, "others")
    return go_to("/account?done=others")


async def _show_refusal(
    caller: Caller, services: Services, error: AutomatchError, field: str, password_field: str
) -> Response:
    """Show the page with an error at the field of the current password, or at the other one."""
    if isinstance(error, TokenInvalidError):
        raise error
    problem = Problem.of(error, field)
    if isinstance(error, CredentialsInvalidError):
        problem = Problem(error.code, gettext("That isn't your current password."), password_field)
    return show(await _page(caller, services, problem=problem), error)


async def _page(
    caller: Caller,
    services: Services,
    *,
    problem: Problem | None = None,
    notice: str | None = None,
) -> SignInSettingsPage:
    user = await services.accounts.load_user(caller.claims)
    return SignInSettingsPage(
        email=user.email,
        sends_mail=services.mailed_links.sends_mail,
        is_confirmed=user.email_confirmed_at is not None,
        sessions=await services.accounts.list_sessions(caller.claims),
        impersonations=await list_own_impersonations(services.db, caller.id),
        is_operator=await is_operator(services.db, caller.claims),
        problem=problem,
        notice=notice,
    )
