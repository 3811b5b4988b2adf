"""Pages for mailed links: asking for one, and what each kind leads to."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors import AutomatchError
from automatch.errors.auth import TokenInvalidError
from automatch.errors.request import LinkExpiredError, RequestError
from automatch.http.declaration import Access, declare
from automatch.http.deps import AddressDep, Services, ServicesDep, claims_of
from automatch.mail.compose import mask_email
from automatch.mail.message import MailKind
from automatch.model.people import LinkUser, User
from automatch.services.accounts.rate_limits import Limit
from automatch.web.accounts.mailed_link_views import (
    ConfirmEmailPage,
    ForgotPasswordPage,
    MailedLinkPage,
)
from automatch.web.language import gettext
from automatch.web.language import gettext_noop as _
from automatch.web.pages import PageRoute, is_signed_in, read_form, show, signed_in, text_of
from automatch.web.templating import Problem

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_KIND_OF = {
    "/reset-password": MailKind.RECOVERY,
    "/sign-in-link": MailKind.SIGN_IN,
    "/confirm-address": MailKind.SIGN_UP,
    "/invitation": MailKind.INVITE,
}
_TITLES = {
    MailKind.RECOVERY: _("Choose a new password"),
    MailKind.SIGN_IN: _("Sign in"),
    MailKind.SIGN_UP: _("Confirm your address"),
    MailKind.INVITE: _("Welcome to Auto-Match"),
}


@router.get("/forgot-password")
@declare(Access.PAGE_COOKIE)
async def forgot_password_form(services: ServicesDep) -> Response:
    """Ask for the e-mail address."""
    services.accounts.check_local_sign_in()
    return show(ForgotPasswordPage(sends_mail=services.mailed_links.sends_mail))


@router.post("/forgot-password")
@declare(Access.PAGE_COOKIE, limits=(Limit.MAILED_LINKS,))
async def ask_for_link(request: Request, services: ServicesDep) -> Response:
    """Have a link mailed; the page says the same whether there is an account or not."""
    form = await read_form(request)
    email = text_of(form, "email").strip()
    kind = MailKind.SIGN_IN if text_of(form, "kind") == MailKind.SIGN_IN else MailKind.RECOVERY
    sends_mail = services.mailed_links.sends_mail
    try:
        await services.mailed_links.request(kind, email)
    except RequestError as exc:
        problem = Problem.of(exc, "email")
        page = ForgotPasswordPage(email=email, problem=problem, sends_mail=sends_mail)
        return show(page, exc)
    return show(ForgotPasswordPage(email=email, asked=True, sends_mail=sends_mail))


@router.get("/invitation")
@router.get("/confirm-address")
@router.get("/sign-in-link")
@router.get("/reset-password")
@declare(Access.PAGE_COOKIE)
async def open_link(request: Request, services: ServicesDep, token: str = "") -> Response:
    """Show what a link is for, with a form or a button. Scanners of mail open links too."""
    return await _show_link(request, services, token)


@router.post("/invitation")
@router.post("/confirm-address")
@router.post("/sign-in-link")
@router.post("/reset-password")
@declare(Access.PAGE_COOKIE, limits=(Limit.MAILED_LINKS,))
async def use_link(request: Request, address: AddressDep, services: ServicesDep) -> Response:
    """Use a link up: sign in, with a new password where the page asks for one."""
    form = await read_form(request)
    token = text_of(form, "token")
    links = services.mailed_links
    try:
        kind, user = await links.check(token, _KIND_OF[request.url.path])
        other = await _find_other(request, services, user)
        if other is not None and text_of(form, "instead_of") != str(other.id):
            return await _show_link(request, services, token)
        if _asks_password(kind, user):
            session = await links.choose_password(
                token, kind, text_of(form, "password"), address=address
            )
        else:
            session = await links.sign_in(token, kind)
    except LinkExpiredError as exc:
        return _show_expired(services, exc)
    except AutomatchError as exc:
        problem = Problem.of(exc, "password")
        return await _show_link(request, services, token, problem, exc)
    if is_signed_in(request):
        await services.accounts.sign_out(claims_of(request))
    is_only_confirmed = kind is MailKind.SIGN_UP and user.has_password
    return signed_in(services, session, "/account?done=confirmed" if is_only_confirmed else "/feed")


@router.get("/confirm-email")
@declare(Access.PAGE_COOKIE)
async def confirm_email_form(services: ServicesDep, token: str = "") -> Response:
    """Show the button of a link that confirms a change of the address."""
    change = await services.mailed_links.check_email_change(token)
    return show(
        ConfirmEmailPage(
            token=token, old_email=mask_email(change.old_email), new_email=change.new_email
        )
    )


@router.post("/confirm-email")
@declare(Access.PAGE_COOKIE, limits=(Limit.MAILED_LINKS,))
async def confirm_email(request: Request, services: ServicesDep) -> Response:
    """Use the link up, and say whether the other address has confirmed too."""
    token = text_of(await read_form(request), "token")
    changed = await services.mailed_links.confirm_email_change(token)
    return show(ConfirmEmailPage(changed=changed))


def _asks_password(kind: MailKind, user: LinkUser) -> bool:
    # The password of an account whose address nobody had confirmed is a stranger's perhaps.
    return (
        kind in {MailKind.RECOVERY, MailKind.INVITE}
        or not user.has_password
        or (kind is MailKind.SIGN_IN and not user.is_confirmed)
    )


async def _find_other(request: Request, services: Services, user: LinkUser) -> User | None:
    """Return the other account that is signed in, whose session a link would replace."""
    if not is_signed_in(request) or claims_of(request).subject == user.user_id:
        return None
    try:
        return await services.accounts.load_user(claims_of(request))
    except TokenInvalidError:
        # It was ended elsewhere.
        return None


async def _show_link(
    request: Request,
    services: Services,
    token: str,
    problem: Problem | None = None,
    error: AutomatchError | None = None,
) -> Response:
    try:
        kind, user = await services.mailed_links.check(token, _KIND_OF[request.url.path])
    except LinkExpiredError as exc:
        return _show_expired(services, exc)
    page = MailedLinkPage(
        title=gettext(_TITLES[kind]),
        path=request.url.path,
        token=token,
        email=user.email,
        asks_password=_asks_password(kind, user),
        signs_out=user.has_password,
        problem=problem,
    )
    other = await _find_other(request, services, user)
    if other is not None:
        page = replace(page, instead_of=str(other.id), instead_of_email=other.email)
    return show(page, error)


def _show_expired(services: Services, error: LinkExpiredError) -> Response:
    problem = Problem.of(error)
    page = ForgotPasswordPage(problem=problem, sends_mail=services.mailed_links.sends_mail)
    return show(page, error)
