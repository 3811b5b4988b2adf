"""Web apps of other origins: let in by name, and told in our own words when they are not."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from automatch.errors.request import ForbiddenError
from automatch.http.errors import error_response
from automatch.http.security_headers import security_headers
from automatch.settings import Settings

_HEADERS = [
    *("authorization", "content-type", "last-event-id"),
    # Of supabase clients.
    *("apikey", "x-client-info", "x-supabase-api-version", "x-region"),
]


class CrossOriginMiddleware(CORSMiddleware):
    """Starlette's, without credentials: an app shows a token, never a cookie of our pages."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(
            app,
            allow_origins=settings.web_origins.split(),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=_HEADERS,
            expose_headers=["retry-after"],
        )
        self._security_headers = security_headers(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, and tell browsers who may read other answers."""
        # Functions are for apps of any origin, and answer that themselves.
        is_function = scope["type"] == "http" and scope["path"].startswith("/functions/")
        await (self.app if is_function else super().__call__)(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a browser that asks whether it may ask."""
        preflight = super().preflight_response(request_headers)
        if preflight.status_code < 400:
            answer = Response(None, 204)
        else:
            answer = error_response(
                ForbiddenError("No app of this origin may send this request, or not in this way.")
            )
        for name, value in preflight.headers.items():
            if not name.startswith("content-"):
                answer.headers[name] = value
        answer.headers.update(self._security_headers)
        return answer
