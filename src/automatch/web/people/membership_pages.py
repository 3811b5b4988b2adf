"""Pages on which somebody shows that they belong to their school, or leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors.request import CodeInvalidError, NotFoundError, RequestError
from automatch.http.declaration import Access, declare
from automatch.http.deps import (
    AddressDep,
    Caller,
    CallerDep,
    LanguagesDep,
    Services,
    ServicesDep,
)
from automatch.web.accounts.account_pages import INVITATION_COOKIE, profile_page
from automatch.web.accounts.account_views import JoinPage, MembershipPage
from automatch.web.language import gettext as _
from automatch.web.pages import PageRoute, go_to, is_signed_in, read_form, show, text_of
from automatch.web.session import write_cookie
from automatch.web.templating import ErrorPage, Problem

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_COOKIE_LIFE_S = 7 * 86400


@router.get("/join/{code}")
@declare(Access.PAGE_COOKIE)
async def join_link(
    code: str, request: Request, address: AddressDep, services: ServicesDep
) -> Response:
    """Keep the code of a link for the profile page, and show where it leads."""
    signed_in = is_signed_in(request)
    try:
        school = await services.memberships.find_school(code, address=address)
    except CodeInvalidError:
        page = ErrorPage(
            title=_("This invitation doesn't work any more"),
            status=None,
            message=_("Ask whoever sent it for a new one."),
            signed_in=signed_in,
        )
        return show(page, NotFoundError())
    response = go_to("/profile/school") if signed_in else show(JoinPage(school=school))
    response.headers.append("set-cookie", _cookie(services, code, _COOKIE_LIFE_S))
    return response


@router.post("/membership/code")
@declare(Access.PAGE_COOKIE)
async def join(
    request: Request,
    caller: CallerDep,
    address: AddressDep,
    services: ServicesDep,
    languages: LanguagesDep,
) -> Response:
    """Become a member by a code."""
    code = text_of(await read_form(request), "code")
    try:
        await services.memberships.join(caller.claims, code, address=address)
    except RequestError as exc:
        return await _show_refusal(caller, services, languages, exc, {"code": code})
    response = go_to("/profile/school?done=joined")
    response.headers.append("set-cookie", _cookie(services, "", 0))
    return response


@router.post("/membership/request")
@declare(Access.PAGE_COOKIE)
async def ask(
    request: Request, caller: CallerDep, services: ServicesDep, languages: LanguagesDep
) -> Response:
    """Ask an operator to be let in."""
    message = text_of(await read_form(request), "message")
    try:
        await services.memberships.ask(caller.claims, message)
    except RequestError as exc:
        return await _show_refusal(caller, services, languages, exc, {"message": message})
    return go_to("/profile/school?done=asked")


@router.post("/membership/leave")
@declare(Access.PAGE_COOKIE)
async def leave(caller: CallerDep, services: ServicesDep) -> Response:
    """Leave the school."""
    await services.memberships.leave(caller.claims)
    return go_to("/onboarding?done=left")


async def _show_refusal(
    caller: Caller,
    services: Services,
    languages: Sequence[str],
    error: RequestError,
    typed: dict[str, str],
) -> Response:
    [field] = typed
    page = await profile_page(
        MembershipPage, caller, services, languages, problem=Problem.of(error, field)
    )
    form = replace(page.form, code=typed.get("code", ""))
    return show(replace(page, form=form, message=typed.get("message", "")), error)


def _cookie(services: Services, code: str, life_s: int) -> str:
    return write_cookie(services.settings, INVITATION_COOKIE, code, life_s)
