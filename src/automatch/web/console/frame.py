"""What all pages of the console have in common: who may see them, navigation, confirmation.

Whoever has no role gets the page of an unknown address. A route declares its act: an operator who
may not do it is told so, and one who has to enter the password comes back to the route's GET.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar
from urllib.parse import quote, unquote, urlsplit

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from automatch.errors import AutomatchError
from automatch.errors.auth import AuthError
from automatch.errors.request import (
    ForbiddenError,
    InputInvalidError,
    NotFoundError,
    ReauthenticationNeededError,
)
from automatch.http.declaration import Declaration, declaration_of
from automatch.http.deps import claims_of, on_loop, services_of
from automatch.http.errors import status_of
from automatch.model.operators import Operator
from automatch.services.operators.acts import RULES, Act, check_role, needs_password_now
from automatch.services.operators.roles import load_operator
from automatch.web.pages import (
    PageResponse,
    PageRoute,
    go_to,
    is_signed_in,
    show_error,
    templates,
)
from automatch.web.templating import Page, render_block

START = "/admin"
_OWN_ADDRESS = re.compile(r"/admin(?:[/?][!-\[\]-~]*)?")
_UNKNOWN = "There is no such page."


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the navigation."""

    name: str
    address: str
    label: str
    act: Act | None = None
    """Who may not do it does not see the entry."""


SECTIONS: Mapping[str, Sequence[Section]] = {
    "Now": (
        Section("overview", "/admin", "Overview", Act.SEE_SYSTEM),
        Section("jobs", "/admin/jobs", "Jobs", Act.SEE_SYSTEM),
    ),
    "People": (
        Section("people", "/admin/people", "People", Act.FIND_PEOPLE),
        Section("cases", "/admin/cases", "Cases", Act.LIST_CASES),
        Section("held", "/admin/held", "Photos that wait", Act.LIST_HELD_PHOTOS),
        Section("requests", "/admin/requests", "Requests", Act.LIST_REQUESTS),
        Section("schools", "/admin/schools", "Schools"),
        Section("duplicates", "/admin/duplicates", "Duplicates", Act.LIST_DUPLICATES),
    ),
    "Matching": (
        Section("threshold", "/admin/threshold", "Threshold", Act.SEE_SYSTEM),
        Section("models", "/admin/models", "Models", Act.SEE_SYSTEM),
    ),
    "This installation": (
        Section("schedule", "/admin/schedule", "Schedule", Act.SEE_SYSTEM),
        Section("settings", "/admin/settings", "Settings", Act.SEE_SYSTEM),
        Section("mail", "/admin/mail", "Mail", Act.LIST_MAILS),
        Section("audit", "/admin/audit", "Audit log", Act.READ_AUDIT_LOG),
        Section("operators", "/admin/operators", "Operators", Act.LIST_OPERATORS),
        Section("texts", "/admin/texts", "Who runs this"),
    ),
}
"""The navigation, in groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePage(Page):
    """What the base template of the console needs of every page."""

    signed_in: bool = True
    me: Operator

    @property
    def sections(self) -> dict[str, list[Section]]:
        """The navigation of this operator."""
        groups = {
            group: [each for each in sections if each.act is None or may(self.me, each.act)]
            for group, sections in SECTIONS.items()
        }
        return {group: sections for group, sections in groups.items() if sections}

    def may(self, act: str) -> bool:
        """Tell whether the operator may do an act, named as in `Act`."""
        return may(self.me, Act[act])

    def needs_password(self, act: str) -> bool:
        """Tell whether the operator has to enter the password before an act."""
        return needs_password_now(self.me, Act[act])


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmPage(ConsolePage):
    """Asks once more before an act; its form posts to the address of the page."""

    template: ClassVar[str] = "console/confirm.html"
    act: Act
    facts: Sequence[str]
    """What will happen, a sentence each."""
    button: str
    back: str
    """Where to go instead."""
    is_final: bool = False
    """Whether it cannot be undone."""
    asks_reason: bool = False
    hidden: Mapping[str, str] | None = None
    """Fields that the form sends along."""

    @property
    def needs_reason(self) -> bool:
        return RULES[self.act].needs_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPage(ConsolePage):
    """Why something was not done."""

    template: ClassVar[str] = "console/refused.html"
    message: str
    back: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOverPage(ConsolePage):
    """Something that is shown once, for the operator to pass on."""

    template: ClassVar[str] = "console/hand_over.html"
    lead: str
    text: str
    back: str


class _ConsoleResponse(PageResponse):
    """A page of the console, or its live part alone when that refreshes itself."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write and send the page."""
        if "hx-request" not in Request(scope).headers:
            await super().__call__(scope, receive, send)
            return
        body = render_block(templates(), self._page, "live").encode()
        await Response(body, self.status_code, media_type="text/html")(scope, receive, send)


def show(page: ConsolePage, error: AutomatchError | None = None) -> Response:
    """Answer with a page of the console, with the status of *error* if the page shows one."""
    return _ConsoleResponse(page, 200 if error is None else status_of(error))


def may(me: Operator, act: Act) -> bool:
    """Tell whether the role of an operator is enough for an act."""
    return me.role.rank >= RULES[act].least_role.rank


def own_address(address: str) -> str:
    """Return an address of the console that a form sent back, or the start page for another."""
    # A browser takes dot segments out, however they are written.
    segments = unquote(urlsplit(address).path).split("/")
    is_own = _OWN_ADDRESS.fullmatch(address) and not {".", ".."} & set(segments)
    return address if is_own else START


def back_of(request: Request) -> str:
    """Return the page of the console that a form was sent from."""
    referer = urlsplit(request.headers.get("referer", ""))
    return own_address(f"{referer.path}?{referer.query}" if referer.query else referer.path)


class ConsoleRoute(PageRoute):
    """A route for operators, which shows its errors in the console."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, behind the check of the role."""
        handler = APIRoute.get_route_handler(self)
        declaration = declaration_of(self)
        assert declaration is not None

        async def handle(request: Request) -> Response:
            try:
                refusal: AutomatchError | None = getattr(request.state, "refusal", None)
                if refusal is not None:
                    raise refusal
                if not is_signed_in(request):
                    return _send_to_sign_in(request)
                services = services_of(request)
                request.state.operator = await load_operator(services.db, claims_of(request))
            except ForbiddenError:
                return show_error(request, NotFoundError(_UNKNOWN))
            except AutomatchError as exc:
                return show_error(request, exc)
            return await _answer(request, handler, declaration)

        return handle


async def _answer(
    request: Request,
    handler: Callable[[Request], Coroutine[Any, Any, Response]],
    declaration: Declaration,
) -> Response:
    me: Operator = request.state.operator
    try:
        if declaration.act is not None:
            check_role(me, declaration.act)
            # A GET only says what will happen.
            if request.method != "GET" and needs_password_now(me, declaration.act):
                return _ask_for_password(request)
        return await handler(request)
    except ReauthenticationNeededError:
        return _ask_for_password(request)
    except AuthError as exc:
        return show_error(request, exc)
    except RequestValidationError:
        unknown = NotFoundError(_UNKNOWN)
        unusable = InputInvalidError(
            "Something in this form can't be used. Check it and try again."
        )
        return _refuse(request, me, unknown if request.method == "GET" else unusable)
    except AutomatchError as exc:
        return _refuse(request, me, exc)


def _refuse(request: Request, me: Operator, error: AutomatchError) -> Response:
    is_look = request.method == "GET"
    is_unknown = is_look and isinstance(error, NotFoundError)
    title = "Page not found" if is_unknown else "That wasn't done"
    back = START if is_look else back_of(request)
    return show(RefusedPage(me=me, title=title, message=error.message, back=back), error)


def _send_to_sign_in(request: Request) -> Response:
    if "hx-request" in request.headers:
        return Response(status_code=401)
    return go_to(f"/sign-in?to={quote(_asked(request), safe='')}")


def _ask_for_password(request: Request) -> Response:
    # Most forms stand on another page, which alone can be opened again.
    is_form = request.method == "POST" and "referer" in request.headers
    to = back_of(request) if is_form else _asked(request)
    return go_to(f"/admin/password?to={quote(to, safe='')}")


def _asked(request: Request) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return own_address(request.url.path + query)


def operator_of(request: Request) -> Operator:
    """Return who is signed in to the console."""
    operator: Operator = request.state.operator
    return operator


MeDep = Annotated[Operator, Depends(on_loop(operator_of))]
