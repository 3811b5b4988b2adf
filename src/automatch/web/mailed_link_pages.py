"""Pages for mailed links: asking for one, choosing a new password, signing in without one."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors import AutomatchError
from automatch.errors.request import LinkExpiredError, RequestError
from automatch.http.declaration import Access, declare
from automatch.http.deps import AddressDep, Services, ServicesDep
from automatch.mail.compose import mask_email
from automatch.mail.message import MailKind
from automatch.services.rate_limits import Limit
from automatch.web.mailed_link_views import (
    ConfirmEmailPage,
    ForgotPasswordPage,
    ResetPasswordPage,
    SignInLinkPage,
)
from automatch.web.pages import PageRoute, read_form, show, signed_in, text_of
from automatch.web.templating import Page, Problem

router = APIRouter(route_class=PageRoute, include_in_schema=False)


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
        problem = Problem(exc.code, exc.message, "email")
        page = ForgotPasswordPage(email=email, problem=problem, sends_mail=sends_mail)
        return show(page, exc)
    return show(ForgotPasswordPage(email=email, asked=True, sends_mail=sends_mail))


@router.get("/reset-password")
@declare(Access.PAGE_COOKIE)
async def reset_password_form(services: ServicesDep, token: str = "") -> Response:
    """Show the form of a link for a new password."""
    return await _show_link(services, MailKind.RECOVERY, token)


@router.post("/reset-password")
@declare(Access.PAGE_COOKIE, limits=(Limit.MAILED_LINKS,))
async def reset_password(request: Request, address: AddressDep, services: ServicesDep) -> Response:
    """Set the new password, sign out everywhere else, and go to the feed."""
    form = await read_form(request)
    token = text_of(form, "token")
    try:
        session = await services.mailed_links.reset_password(
            token, text_of(form, "password"), address=address
        )
    except LinkExpiredError as exc:
        return _show_expired(services, exc)
    except AutomatchError as exc:
        problem = Problem(exc.code, exc.message, "password")
        return await _show_link(services, MailKind.RECOVERY, token, problem, exc)
    return signed_in(services, session)


@router.get("/sign-in-link")
@declare(Access.PAGE_COOKIE)
async def sign_in_link_form(services: ServicesDep, token: str = "") -> Response:
    """Show the button of a link to sign in by."""
    return await _show_link(services, MailKind.SIGN_IN, token)


@router.post("/sign-in-link")
@declare(Access.PAGE_COOKIE, limits=(Limit.MAILED_LINKS,))
async def sign_in_by_link(request: Request, services: ServicesDep) -> Response:
    """Use the link up and go to the feed."""
    token = text_of(await read_form(request), "token")
    try:
        session = await services.mailed_links.sign_in(MailKind.SIGN_IN, token)
    except LinkExpiredError as exc:
        return _show_expired(services, exc)
    return signed_in(services, session)


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


async def _show_link(
    services: Services,
    kind: MailKind,
    token: str,
    problem: Problem | None = None,
    error: AutomatchError | None = None,
) -> Response:
    # Showing it does not use it up: scanners of mail open links too.
    try:
        email = await services.mailed_links.check(kind, token)
    except LinkExpiredError as exc:
        return _show_expired(services, exc)
    page: Page
    if kind is MailKind.SIGN_IN:
        page = SignInLinkPage(token=token, email=email)
    else:
        page = ResetPasswordPage(token=token, email=email, problem=problem)
    return show(page, error)


def _show_expired(services: Services, error: LinkExpiredError) -> Response:
    problem = Problem(
        error.code, "This link has expired or was used already. Ask for a new one here."
    )
    page = ForgotPasswordPage(problem=problem, sends_mail=services.mailed_links.sends_mail)
    return show(page, error)
