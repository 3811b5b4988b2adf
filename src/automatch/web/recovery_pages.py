"""Pages for somebody who forgot the password: asking for a link, and choosing a new password."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors import AutomatchError
from automatch.errors.request import LinkExpiredError, RequestError
from automatch.http.declaration import Access, declare
from automatch.http.deps import AddressDep, Services, ServicesDep
from automatch.services.rate_limits import Limit
from automatch.web.account_views import ForgotPasswordPage, ResetPasswordPage
from automatch.web.pages import PageRoute, read_form, show, signed_in, text_of
from automatch.web.templating import Problem

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/forgot-password")
@declare(Access.PAGE_COOKIE)
async def forgot_password_form(services: ServicesDep) -> Response:
    """Ask for the e-mail address."""
    services.accounts.check_local_sign_in()
    return show(ForgotPasswordPage(sends_mail=services.recovery.sends_mail))


@router.post("/forgot-password")
@declare(Access.PAGE_COOKIE, limits=(Limit.RECOVERY,))
async def ask_for_link(request: Request, services: ServicesDep) -> Response:
    """Have a link mailed; the page says the same whether there is an account or not."""
    email = text_of(await read_form(request), "email").strip()
    try:
        await services.recovery.request(email)
    except RequestError as exc:
        problem = Problem(exc.code, exc.message, "email")
        page = ForgotPasswordPage(
            email=email, problem=problem, sends_mail=services.recovery.sends_mail
        )
        return show(page, exc)
    return show(
        ForgotPasswordPage(email=email, asked=True, sends_mail=services.recovery.sends_mail)
    )


@router.get("/reset-password")
@declare(Access.PAGE_COOKIE)
async def reset_password_form(services: ServicesDep, token: str = "") -> Response:
    """Show the form of a mailed link, without using it up: mail scanners open links too."""
    try:
        email = await services.recovery.check_link(token)
    except LinkExpiredError as exc:
        return _show_expired(services, exc)
    return show(ResetPasswordPage(token=token, email=email))


@router.post("/reset-password")
@declare(Access.PAGE_COOKIE, limits=(Limit.RECOVERY,))
async def reset_password(request: Request, address: AddressDep, services: ServicesDep) -> Response:
    """Set the new password, sign out everywhere else, and go to the feed."""
    form = await read_form(request)
    token = text_of(form, "token")
    try:
        email = await services.recovery.check_link(token)
    except LinkExpiredError as exc:
        return _show_expired(services, exc)
    try:
        session = await services.recovery.reset_password(
            token, text_of(form, "password"), address=address
        )
    except LinkExpiredError as exc:
        return _show_expired(services, exc)
    except AutomatchError as exc:
        problem = Problem(exc.code, exc.message, "password")
        return show(ResetPasswordPage(token=token, email=email, problem=problem), exc)
    return signed_in(services, session)


def _show_expired(services: Services, error: LinkExpiredError) -> Response:
    problem = Problem(
        error.code, "This link has expired or was used already. Ask for a new one here."
    )
    page = ForgotPasswordPage(problem=problem, sends_mail=services.recovery.sends_mail)
    return show(page, error)
