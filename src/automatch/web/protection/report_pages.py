"""Pages of reports: from a card, of a photo without an account, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors.request import InputInvalidError, LinkExpiredError, RequestError
from automatch.http.declaration import Access, declare
from automatch.http.deps import Caller, CallerDep, Services, ServicesDep
from automatch.model.cases import CaseState, ReportReason
from automatch.services.accounts.rate_limits import Limit
from automatch.services.validators import normalize_email
from automatch.web.language import gettext as _
from automatch.web.pages import (
    PageRoute,
    SenderDep,
    go_to,
    is_signed_in,
    onward_from,
    read_form,
    show,
    tell,
    text_of,
    wants_json,
)
from automatch.web.protection.report_views import (
    CaseItem,
    LinkedCasePage,
    ReportPage,
    ReportsPage,
    TakeDownPage,
    photo_of,
)
from automatch.web.templating import ErrorPage, Problem
from automatch.web.undo import PersonAct

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/people/{profile_id}/report")
@declare(Access.PAGE_COOKIE)
async def report_form(
    profile_id: UUID, request: Request, caller: CallerDep, services: ServicesDep
) -> Response:
    """Ask why somebody of the feed is reported."""
    page = await _report_page(profile_id, caller, services)
    return show(replace(page, to=onward_from(request)))


@router.post("/people/{profile_id}/report")
@declare(Access.PAGE_COOKIE, limits=(Limit.REPORTS,))
async def report(
    profile_id: UUID, request: Request, caller: SenderDep, services: ServicesDep
) -> Response:
    """Report somebody of the feed, who leaves it at once."""
    form = await read_form(request)
    reason, statement = text_of(form, "reason"), text_of(form, "statement")
    page = await _report_page(profile_id, caller, services, reason=reason, statement=statement)
    page = replace(page, to=onward_from(request))
    try:
        case_id = await services.reports.report(
            caller.claims, profile_id, _reason_of(reason), statement
        )
    except InputInvalidError as exc:
        if wants_json(request):
            raise
        problem = Problem.of(exc, "statement" if reason else "reason")
        return show(replace(page, problem=problem), exc)
    return tell(request, services, PersonAct.REPORTED, case_id, back="/feed")


@router.get("/reports")
@declare(Access.PAGE_COOKIE)
async def own_reports(caller: CallerDep, services: ServicesDep) -> Response:
    """Show what the person reported, and what was done about them."""
    own = await services.reports.load_own(caller.claims)
    return show(ReportsPage.from_cases(own, person_id=caller.id))


@router.post("/reports/{case_id}")
@declare(Access.PAGE_COOKIE, limits=(Limit.REPORTS,))
async def write_to_case(
    case_id: UUID, request: Request, caller: CallerDep, services: ServicesDep
) -> Response:
    """Answer, or appeal."""
    text = text_of(await read_form(request), "text")
    try:
        await services.reports.write(caller.claims, case_id, text)
    except InputInvalidError as exc:
        own = await services.reports.load_own(caller.claims)
        problem = Problem.of(exc)
        return show(ReportsPage.from_cases(own, person_id=caller.id, problem=problem), exc)
    return go_to("/reports")


@router.get("/report")
@declare(Access.PAGE_COOKIE)
async def take_down_form(request: Request, services: ServicesDep) -> Response:
    """Ask for the photo, the reason and an address."""
    return show(_take_down_page(request, services))


@router.post("/report")
@declare(Access.PAGE_COOKIE, limits=(Limit.TAKE_DOWNS,))
async def request_take_down(request: Request, services: ServicesDep) -> Response:
    """Keep the request; the page says the same whether anything is found or not."""
    form = await read_form(request)
    page = replace(
        _take_down_page(request, services),
        photo=text_of(form, "photo"),
        email=text_of(form, "email").strip(),
        reason=text_of(form, "reason"),
        statement=text_of(form, "statement"),
        asked=True,
    )
    try:
        await services.reports.request_take_down(
            page.photo, page.email, _reason_of(page.reason), page.statement
        )
    except RequestError as exc:
        problem = Problem.of(exc, _field_at_fault(page, exc))
        return show(replace(page, asked=False, problem=problem), exc)
    return show(page)


@router.get("/report/link")
@declare(Access.PAGE_COOKIE)
async def linked_case(request: Request, services: ServicesDep, token: str = "") -> Response:
    """Show the request of a mailed link, with a button to confirm it."""
    try:
        return await _linked_case_page(services, token)
    except LinkExpiredError as exc:
        return _show_expired(request, exc)


@router.post("/report/link")
@declare(Access.PAGE_COOKIE, limits=(Limit.MAILED_LINKS,))
async def use_link(request: Request, services: ServicesDep) -> Response:
    """Confirm the request, or write to those who look at it."""
    form = await read_form(request)
    token = text_of(form, "token")
    try:
        if "text" not in form:
            await services.reports.confirm(token)
            return await _linked_case_page(services, token)
        try:
            await services.reports.write_by_link(token, text_of(form, "text"))
        except InputInvalidError as exc:
            return await _linked_case_page(services, token, exc)
        return await _linked_case_page(services, token)
    except LinkExpiredError as exc:
        return _show_expired(request, exc)


def _show_expired(request: Request, error: LinkExpiredError) -> Response:
    page = ErrorPage(
        title=_("This link doesn't work any more"),
        status=None,
        message=_("It's too old, or not complete. You can ask again."),
        link=("/report", _("Ask again")),
        signed_in=is_signed_in(request),
    )
    return show(page, error)


def _take_down_page(request: Request, services: Services) -> TakeDownPage:
    return TakeDownPage(
        sends_mail=services.reports.sends_mail,
        kept_days=services.settings.retention.case_texts_days,
        signed_in=is_signed_in(request),
    )


def _field_at_fault(page: TakeDownPage, error: RequestError) -> str | None:
    if not isinstance(error, InputInvalidError):
        return None
    if page.reason not in list(ReportReason):
        return "reason"
    return "photo" if normalize_email(page.email) else "email"


async def _linked_case_page(
    services: Services, token: str, error: RequestError | None = None
) -> Response:
    file = await services.reports.open_link(token)
    page = LinkedCasePage(
        token=token,
        is_proven=file.case.state is not CaseState.UNPROVEN,
        item=CaseItem.from_link(file),
        problem=Problem.of(error) if error else None,
    )
    return show(page, error)


async def _report_page(
    profile_id: UUID, caller: Caller, services: Services, *, reason: str = "", statement: str = ""
) -> ReportPage:
    person = await services.reports.load_shown_person(caller.claims, profile_id)
    return ReportPage(
        profile_id=profile_id,
        name=person.name or _("this person"),
        photo=photo_of(person.face_id),
        reason=reason,
        statement=statement,
        person_id=caller.id,
    )


def _reason_of(text: str) -> ReportReason:
    try:
        return ReportReason(text)
    except ValueError as exc:
        raise InputInvalidError("Choose a reason.", case="reason") from exc
