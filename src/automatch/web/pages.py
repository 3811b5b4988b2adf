"""Shared by all page handlers: rendering, redirects, and errors as pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, get_args
from urllib.parse import quote, urlsplit
from uuid import UUID

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from jinja2 import Environment
from starlette.datastructures import FormData, QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import Receive, Scope, Send

from automatch.errors import AutomatchError
from automatch.errors.auth import AuthError
from automatch.errors.job import ProfileNotFoundError
from automatch.errors.request import ForbiddenError, NotFoundError
from automatch.errors.upload import BodyMalformedError
from automatch.http.deps import Caller, CallerDep, Services, on_loop, services_of
from automatch.http.errors import error_response, headers_of, status_of
from automatch.http.usual_request import UsualRoute
from automatch.model.matches import FeedOrder, Show, Sort
from automatch.services.accounts.accounts import Session
from automatch.web.language import gettext as _
from automatch.web.refusals import describe
from automatch.web.session import CookieSession
from automatch.web.templating import ErrorPage, Page, build_templates, render_page
from automatch.web.undo import Done, PersonAct, forget_done, read_done, remember_done

_ONWARD = re.compile(r"/(?:feed|matches/[0-9a-f-]{36})(?:\?[\w=&.-]*)?", re.ASCII)


@cache
def templates() -> Environment:
    """Return the compiled templates."""
    return build_templates()


class PageResponse(Response):
    """A page, written when it is sent: by then the server says who runs it."""

    media_type = "text/html"

    def __init__(
        self, page: Page, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(None, status, headers)
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write and send the page."""
        request = Request(scope)
        services = services_of(request)
        done = read_done(request) if self._page.signed_in else None
        if done is not None:
            self.headers.append("set-cookie", forget_done(services))
        operator = await services.site_operator.load()
        self.body = render_page(
            templates(), self._page, operator, done, _address_of(scope, self._page)
        ).encode()
        self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def _read_order(show: Show = "all", sort: Sort = "newest") -> FeedOrder:
    return FeedOrder(show, sort)


OrderDep = Annotated[FeedOrder, Depends(on_loop(_read_order))]
"""Which matches an address asks for, and which first."""


_ORDERS = {
    (show, sort): FeedOrder(show, sort) for show in get_args(Show) for sort in get_args(Sort)
}


def usual_order(query: QueryParams) -> FeedOrder | None:
    """Return which matches an address asks for; None where there is no such list."""
    return _ORDERS.get((query.get("show", "all"), query.get("sort", "newest")))


def _address_of(scope: Scope, page: Page) -> str:
    # What a form answers has an address that nobody can open.
    if scope["method"] != "GET":
        return "/"
    # The length of a compressed page that repeats its address would tell what else it holds.
    query = "" if page.signed_in else scope.get("query_string", b"").decode("latin-1")
    return quote(scope["path"]) + (f"?{query}" if query else "")


def show(page: Page, error: AutomatchError | None = None) -> PageResponse:
    """Answer with a page, with the status of *error* if the page shows one."""
    if error is None:
        return PageResponse(page)
    status = status_of(error)
    # No WWW-Authenticate header: people sign in with the form.
    return PageResponse(page, status, {} if status == 401 else headers_of(error))


def show_error(request: Request, error: AutomatchError) -> Response:
    """Answer with an error: a page for a person, JSON for a script."""
    request.state.refused_as = error.code
    if wants_json(request):
        return error_response(error, message=describe(error))
    if isinstance(error, AuthError | ProfileNotFoundError):
        # The cookies of a deleted account would redirect from there back to this page.
        response = go_to("/sign-in")
        for cookie in CookieSession(services_of(request)).forget():
            response.headers.append("set-cookie", cookie)
        return response
    status = status_of(error)
    page = ErrorPage(
        title=_title_of(status),
        status=status,
        message=describe(error),
        signed_in=is_signed_in(request),
    )
    return show(page, error)


def _title_of(status: int) -> str:
    match status:
        case 403:
            return _("Not allowed")
        case 404:
            return _("Page not found")
        case 429:
            return _("Too many tries")
        case 503:
            return _("Very busy")
        case _:
            return _("Something went wrong")


async def read_form(request: Request) -> FormData:
    """Return the fields of a form.

    Raises:
        BodyMalformedError: the body is not a form.
    """
    try:
        return await request.form()
    except (HTTPException, UnicodeError) as exc:
        raise BodyMalformedError from exc


def go_to(path: str) -> RedirectResponse:
    """Redirect after a form, so that a reload does not submit it again."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def tell(
    request: Request, services: Services, act: PersonAct, object_id: UUID, back: str = ""
) -> Response:
    """Tell a script what was done, or lead a browser on to be told.

    It comes to where the form says (`onward_from`), else to *back*, else whence it came.
    """
    done = Done(act, object_id)
    if wants_json(request):
        return JSONResponse({"act": act.value, "message": done.message, "undo": done.undo})
    if back:
        back = onward_from(request) or back
    else:
        path = urlsplit(request.headers.get("referer", "")).path
        back = path if path.startswith(("/matches/", "/profile/")) else "/feed"
    response = go_to(back)
    response.headers.append("set-cookie", remember_done(services, done))
    return response


def onward_from(request: Request) -> str:
    """Return the page of the feed that a form or link says to lead on to; empty for none."""
    onward = request.query_params.get("to", "")
    return onward if _ONWARD.fullmatch(onward) else ""


def sender_of(caller: CallerDep, person: UUID | None = None) -> Caller:
    """Return who sends a form; *person* is for whom the page was written that it comes from.

    Raises:
        ForbiddenError: somebody else has signed in since, in another tab.
    """
    if person not in {None, caller.id}:
        raise ForbiddenError(
            "You are signed in as somebody else now. Load the page again.", case="other_person"
        )
    return caller


SenderDep = Annotated[Caller, Depends(on_loop(sender_of))]


def signed_in(services: Services, session: Session, path: str = "/feed") -> Response:
    """Go to the feed or another page, with the cookies of a session."""
    response = go_to(path)
    for cookie in CookieSession(services).remember(session):
        response.headers.append("set-cookie", cookie)
    return response


def text_of(form: FormData, name: str) -> str:
    """Return what was typed into a field; empty when it is missing."""
    value = form.get(name, "")
    # Postgres cannot store a NUL, and no keyboard types one.
    return value if isinstance(value, str) and "\0" not in value else ""


def wants_json(request: Request) -> bool:
    """Return whether a script sent the form, and not the browser itself."""
    return request.headers.get("accept", "").startswith("application/json")


def is_signed_in(request: Request) -> bool:
    return getattr(request.state, "claims", None) is not None


class PageRoute(UsualRoute):
    """A route that shows errors as pages, and redirects to sign-in where that is required."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with its errors turned into pages."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                refusal: AutomatchError | None = getattr(request.state, "refusal", None)
                if refusal is not None:
                    raise refusal
                return await handler(request)
            except AutomatchError as exc:
                return show_error(request, exc)
            except RequestValidationError:
                # Handlers validate their forms themselves, so the address is wrong.
                return show_error(request, NotFoundError("There is no such page."))

        return handle

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show an unknown page to a browser that opens the address of a form."""
        if scope["method"] == "GET" and "GET" not in (self.methods or ()):
            page = show_error(Request(scope), NotFoundError("There is no such page."))
            await page(scope, receive, send)
            return
        await super().handle(scope, receive, send)
