"""What every request passes before a handler sees it: identity first, then the size of its body.

A framework that parses the form before it checks the token writes a stranger's 200 MB to disk and
then says 401. So this is plain ASGI, outside of it: the token is checked on the headers alone, and
the body is counted and timed while it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from automatch.auth.function_keys import FunctionKeys
from automatch.auth.tokens import bearer_token
from automatch.errors import AutomatchError
from automatch.errors.auth import TokenMissingError
from automatch.errors.upload import BodyTooLargeError, HeadersTooLargeError
from automatch.http.deps import check_service
from automatch.http.errors import error_response, internal_error_response
from automatch.http.middleware.limited_body import LimitedBody
from automatch.http.routes.ai import BATCH, FACES
from automatch.model.people import Claims
from automatch.settings import Settings

_MAX_HEADER_BYTES = 16 * 1024
_MAX_SMALL_BODY = 64 * 1024
_UPLOADS = {"/api/faces", "/upload", FACES}
_AI_PATH = "/ai/"
_BEARER_PATHS = ("/api/", _AI_PATH)
_SERVICE_PATHS = ("/api/admin/", _AI_PATH)
_OPEN_PATHS = ("/api/openapi.json",)
_FUNCTION_PATHS = ("/functions/v1/",)
_ANONYMOUS_PATHS = ("/auth/v1/", "/realtime/v1/", "/healthz", "/readyz")
_POLICY = (
    "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; manifest-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Tokens, names and photos; what may be kept says so itself.
    "cache-control": "no-store",
}
_CROSS_ORIGIN = {"access-control-allow-origin": "*"}
"""Functions are for clients of any origin: what they take is a key, never a cookie."""
_PREFLIGHT = {
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": "authorization, apikey, content-type, x-client-info",
    "access-control-max-age": "86400",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks for a page."""

    claims: Claims | None
    set_cookies: Sequence[str] = ()
    """Cookies that the answer must carry, whatever it is."""


class PageIdentity(Protocol):
    """How the pages tell who asks."""

    async def identify(self, scope: Scope) -> Identity:
        """Return who asks, by the headers alone."""
        ...


class Keys(Protocol):
    """How a token is told from what is none."""

    def verify(self, token: str) -> Claims:
        """Return who a token speaks for.

        Raises:
            AuthError: it speaks for nobody, or no longer.
        """
        ...


class AuthAndLimitsMiddleware:
    """The outermost layer of the server; without *pages* it serves programs alone."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Keys,
        ai_keys: Keys,
        settings: Settings,
        pages: PageIdentity | None = None,
        functions: FunctionKeys | None = None,
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._ai_keys = ai_keys
        self._settings = settings
        self._pages = pages
        self._functions = functions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        state = scope.setdefault("state", {})
        body = LimitedBody(
            scope,
            receive,
            most=self._most_bytes(scope["path"]),
            timeout_s=self._settings.upload.body_timeout_s,
        )

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if self._functions is not None and _is_function(scope):
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
            await self._pass(scope, body, send_with_headers)
        except ClientDisconnect:
            # Whoever left in the middle of an upload waits for no answer.
            return
        except AutomatchError as exc:
            if started:
                raise
            await error_response(exc, path=scope["path"])(scope, receive, send_with_headers)
        except Exception as exc:
            # The edge of the server: nothing above it would tell the client anything.
            if started:
                raise
            response = internal_error_response(exc, where=_route_of(scope), path=scope["path"])
            await response(scope, receive, send_with_headers)

    async def _pass(self, scope: Scope, body: LimitedBody, send: Send) -> None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > _MAX_HEADER_BYTES:
            raise HeadersTooLargeError
        path: str = scope["path"]
        state = scope["state"]
        if self._pages is not None and is_page(path):
            # A form that is too large is refused as it is read, by a page that says so.
            identity = await self._pages.identify(scope)
            state["claims"], state["set_cookies"] = identity.claims, identity.set_cookies
        else:
            if self._functions is not None and _is_function(scope):
                headers = Headers(scope=scope)
                if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                    await Response(None, 204, _PREFLIGHT)(scope, body.receive, send)
                    return
                state["claims"] = await self._functions.identify(headers)
            elif path.startswith(_BEARER_PATHS) and path not in _OPEN_PATHS:
                claims = state["claims"] = self._identify(scope)
                if claims is not None and path.startswith(_SERVICE_PATHS):
                    check_service(claims)
            if body.is_too_large:
                raise BodyTooLargeError
        await self._app(scope, body.receive, send)

    def _most_bytes(self, path: str) -> int:
        if path in _UPLOADS:
            return self._settings.upload.max_bytes
        return self._settings.ai.max_batch_bytes if path == BATCH else _MAX_SMALL_BODY

    def _identify(self, scope: Scope) -> Claims | None:
        try:
            token = bearer_token(Headers(scope=scope))
        except TokenMissingError:
            # A photo may be asked for with a signed link instead; its handler sees to that.
            if scope["path"].endswith("/image") and b"token=" in scope["query_string"]:
                return None
            raise
        keys = self._ai_keys if scope["path"].startswith(_AI_PATH) else self._tokens
        return keys.verify(token)


def is_page(path: str) -> bool:
    """Tell whether people and their browsers ask for *path*, and not programs."""
    return not path.startswith((*_BEARER_PATHS, *_FUNCTION_PATHS, *_ANONYMOUS_PATHS))


def _is_function(scope: Scope) -> bool:
    return str(scope["path"]).startswith(_FUNCTION_PATHS)


def _route_of(scope: Scope) -> str:
    """Return the route's template: a path may hold an id."""
    route = scope.get("route")
    return str(getattr(route, "path", "unknown"))
