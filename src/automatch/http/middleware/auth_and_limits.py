"""What every request passes before a handler sees it: identity, rate limits, the size of its body.

A framework that parses the form before it checks the token writes a stranger's 200 MB to disk and
then answers 401. So this is plain ASGI outside of it: it looks up what the route declares, checks
identity on the headers alone, charges the rate limits, and counts and times the body while it is
read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import structlog
from prometheus_client import Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from automatch.errors import AutomatchError
from automatch.errors.request import (
    ConsentRequiredError,
    ForbiddenError,
    InputInvalidError,
    PasswordCommonError,
    PasswordWeakError,
    PhotosFullError,
    PhotosWaitingError,
    ProfileIncompleteError,
)
from automatch.errors.store import DatabaseUnavailableError
from automatch.errors.upload import BodyTooLargeError, UploadError
from automatch.http.client_address import client_address
from automatch.http.declaration import (
    Access,
    Declaration,
    FoundRoute,
    RouteTable,
    photo_body,
    small_body,
)
from automatch.http.errors import (
    error_response,
    internal_error_response,
    method_not_allowed_response,
)
from automatch.http.middleware.authentication import Authenticate, Identity
from automatch.http.middleware.body_memory import BodyMemory
from automatch.http.middleware.limited_body import LimitedBody
from automatch.http.origins import check_websocket_origin
from automatch.http.security_headers import security_headers
from automatch.language.catalogue import (
    COOKIE,
    ENGLISH,
    begin_in,
    choose_language,
    read_accept_language,
)
from automatch.model.people import Claims
from automatch.services.accounts.rate_limits import Limit, RateLimits
from automatch.settings import Settings
from automatch.store.accounts.rate_limits import Charge
from automatch.telemetry.metrics import ServerMetrics
from automatch.telemetry.request_id import HEADER, begin_request
from automatch.telemetry.traces import Traces, request_span

_NOT_DONE = {0, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.SERVICE_UNAVAILABLE}
"""Answers to requests that do not count: what the server could not do, and bodies that did not
arrive, which a phone on a bad network sends several times; 0 is no answer."""
_NOT_TRIED = (
    InputInvalidError,
    PasswordCommonError,
    PasswordWeakError,
    ConsentRequiredError,
    ProfileIncompleteError,
    PhotosFullError,
    PhotosWaitingError,
    UploadError,
)
"""Refusals before anything that costs much was done: they do not count either."""
_CROSS_ORIGIN = {"access-control-allow-origin": "*"}
"""Functions are for clients of any origin: they take a key and never a cookie."""
_PREFLIGHT = {
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": "authorization, apikey, content-type, x-client-info",
    "access-control-max-age": "86400",
}

_ESCAPED_SLASH = re.compile(b"%2f", re.IGNORECASE)

log = structlog.get_logger(__name__)


class AuthAndLimitsMiddleware:
    """The outermost layer of the server."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        authenticators: Mapping[Access, Authenticate],
        metrics: ServerMetrics,
        traces: Traces | None = None,
        rate_limits: RateLimits | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._authenticators = authenticators
        self._memory = BodyMemory(settings.upload)
        self._rate_limits = rate_limits
        self._metrics = metrics
        self._request_times: dict[tuple[Access, int], Histogram] = {}
        self._traces = traces
        self._headers = security_headers(settings)
        self._raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self._headers.items()
        ]
        self._routes: RouteTable | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _keep_escaped_slashes(scope)
        if scope["type"] == "http":
            await self._answer_request(scope, receive, send, begin_request())
        elif scope["type"] == "websocket":
            await self._answer_websocket(scope, receive, send, begin_request())
        else:
            await self._app(scope, receive, send)

    async def _answer_websocket(
        self, scope: Scope, receive: Receive, send: Send, request_id: UUID
    ) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "websocket.http.response.start":
                MutableHeaders(scope=message).update({**self._headers, HEADER: request_id.hex})
            await send(message)

        websocket = WebSocket(scope, receive, send_with_headers)
        route = self._find_route(scope)
        try:
            check_websocket_origin(scope, self._settings)
            await self._identify(scope, route.declaration)
        except AutomatchError as exc:
            await websocket.send_denial_response(error_response(exc))
        except Exception as exc:
            response = internal_error_response(exc, where=route.path)
            await websocket.send_denial_response(response)
        else:
            await self._app(scope, receive, send_with_headers)

    async def _answer_request(
        self, scope: Scope, receive: Receive, send: Send, request_id: UUID
    ) -> None:
        began = time.monotonic()
        is_started = False
        route = self._find_route(scope)
        limits = route.declaration or Declaration(Access.ANYONE)
        state = scope.setdefault("state", {})

        def reserve(size: int) -> Callable[[], None]:
            claims = state.get("claims")
            return self._memory.reserve(size, claims.subject if claims else None)

        body = LimitedBody(
            scope,
            receive,
            self._settings.upload,
            max_bytes=limits.max_body_bytes(self._settings),
            reserve=None if limits.max_body_bytes is small_body else reserve,
        )

        async def send_with_headers(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                status = message["status"]
                self._count(limits, status, state, time.monotonic() - began)
                if self._traces is not None:
                    name = f"{scope['method']} {route.path}"
                    self._traces.record(request_span(name, request_id, began, status))
                headers = MutableHeaders(scope=message)
                headers[HEADER] = request_id.hex
                given = {name for name, _ in headers.raw}
                headers.raw.extend(each for each in self._raw_headers if each[0] not in given)
                if limits.access is Access.FUNCTION_KEY:
                    headers.update(_CROSS_ORIGIN)
                if "set-cookie" not in headers:
                    for cookie in state.get("set_cookies", ()):
                        headers.append("set-cookie", cookie)
                if body.is_pending:
                    headers["connection"] = "close"
            elif body.is_pending and not message.get("more_body", False):
                await body.end_after(message, send)
                return
            await send(message)

        try:
            await self._call_route(route, scope, body, send_with_headers)
        except ClientDisconnect:
            # A client that left in the middle of an upload waits for no answer.
            return
        except AutomatchError as exc:
            if is_started:
                raise
            state["refused_as"] = exc.code
            await error_response(exc, path=scope["path"])(scope, receive, send_with_headers)
        except Exception as exc:
            # This is the edge of the server: nothing above it would answer the client.
            if is_started:
                raise
            response = internal_error_response(exc, where=route.path, path=scope["path"])
            await response(scope, receive, send_with_headers)
        finally:
            body.release()

    def _count(
        self, declaration: Declaration, status: int, state: Mapping[str, Any], seconds: float
    ) -> None:
        key = (declaration.access, status // 100)
        if (times := self._request_times.get(key)) is None:
            times = self._metrics.requests.labels(key[0].value, f"{key[1]}xx")
            # To find them by their labels takes longer than to count.
            self._request_times[key] = times
        times.observe(seconds)
        if declaration.max_body_bytes is not photo_body:
            return
        reason: str | None = state.get("refused_as") or getattr(state.get("error"), "code", None)
        if reason is None and status < HTTPStatus.BAD_REQUEST:
            self._metrics.uploads.inc()
        else:
            self._metrics.upload_refusals.labels(reason or AutomatchError.code).inc()

    async def _call_route(
        self, route: FoundRoute, scope: Scope, body: LimitedBody, send: Send
    ) -> None:
        declaration = route.declaration
        if declaration is not None:
            if declaration.access is Access.FUNCTION_KEY and _is_preflight(scope):
                await Response(None, 204, _PREFLIGHT)(scope, body.receive, send)
                return
            scope["state"]["access"] = declaration.access
        _begin_language(scope, declaration)
        identity = await self._identify(scope, declaration)
        scope["state"]["claims"] = identity.claims
        scope["state"]["set_cookies"] = identity.set_cookies
        is_page = declaration is not None and declaration.access.is_page
        if route.allowed_methods and not (is_page and scope["method"] == "GET"):
            response = method_not_allowed_response(route.allowed_methods, path=scope["path"])
            await response(scope, body.receive, send)
            return
        # A page reads its form itself, and shows an error page when that is too large.
        if body.is_too_large and not is_page:
            raise BodyTooLargeError
        if declaration is None or not declaration.limits or self._rate_limits is None:
            await self._app(scope, body.receive, send)
            return
        await self._call_limited(declaration, self._rate_limits, scope, body, send)

    async def _call_limited(
        self,
        declaration: Declaration,
        rate_limits: RateLimits,
        scope: Scope,
        body: LimitedBody,
        send: Send,
    ) -> None:
        acts = [(limit, _who(limit, scope)) for limit in declaration.limits]
        charged: list[Charge] = []
        status = 0

        def error() -> type[AutomatchError]:
            found: type[AutomatchError] = scope["state"].get("error", AutomatchError)
            return found

        async def refund() -> None:
            nonlocal charged
            if status in _NOT_DONE or issubclass(error(), _NOT_TRIED):
                undone, charged = charged, []
                await rate_limits.refund(undone)

        async def send_after_refund(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            # Before the answer, or the next request might still be refused; but whoever waited for
            # the database in vain does not wait for it once more.
            if not issubclass(error(), DatabaseUnavailableError):
                await refund()
            await send(message)

        try:
            charged = await rate_limits.charge([(limit, who) for limit, who in acts if who])
        except AutomatchError as exc:
            if not declaration.access.is_page:
                raise
            # A page shows its errors itself.
            scope["state"]["refusal"] = exc
        try:
            await self._app(scope, body.receive, send_after_refund)
        finally:
            await refund()

    async def _identify(self, scope: Scope, declaration: Declaration | None) -> Identity:
        if declaration is None:
            log.error("route declares nothing, and is refused")
            raise ForbiddenError("This address is closed: it does not say who may call it.")
        if declaration.access is Access.ANYONE:
            return Identity(None)
        return await self._authenticators[declaration.access](scope)

    def _find_route(self, scope: Scope) -> FoundRoute:
        if self._routes is None:
            self._routes = RouteTable(scope["app"].routes)
        return self._routes.find(scope)


def _who(limit: Limit, scope: Scope) -> str | None:
    """Return for whom a request counts; None for a stranger, whom a page sends to sign in."""
    if limit.is_per_address:
        return client_address(scope)
    claims: Claims | None = scope["state"]["claims"]
    return str(claims.subject) if claims else None


def _begin_language(scope: Scope, declaration: Declaration | None) -> None:
    # The API and the console speak English alone; a mail is in the language of who asked for it.
    headers = Headers(scope=scope)
    accepted = read_accept_language(headers.get("accept-language", ""))
    chosen = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    preferred = choose_language([chosen, *accepted])
    speaks = declaration is not None and declaration.access is Access.PAGE_COOKIE
    begin_in(preferred if speaks else ENGLISH, preferred=preferred)


def _keep_escaped_slashes(scope: Scope) -> None:
    # A slash that a client escapes is part of a name, and never leads to another route.
    raw_path: bytes = scope.get("raw_path") or b""
    if b"%2f" in raw_path.lower():
        scope["path"] = unquote(_ESCAPED_SLASH.sub(b"%252F", raw_path).decode("ascii"))


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope)
