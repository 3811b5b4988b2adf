"""What all page handlers share: rendering, redirects, and errors as a page."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from jinja2 import Environment
from starlette.responses import HTMLResponse, RedirectResponse

from automatch.api.errors import error_response, status_of
from automatch.errors import AuthError, AutomatchError, ProfileNotFoundError
from automatch.web.views import ErrorPage, Page, build_templates, render_page


@cache
def templates() -> Environment:
    """Return the compiled templates."""
    return build_templates()


def show(page: Page, status: int = 200) -> HTMLResponse:
    """Answer with a page."""
    return HTMLResponse(
        render_page(templates(), page), status, headers={"cache-control": "no-store"}
    )


def go_to(path: str) -> RedirectResponse:
    """Answer a form: the browser asks for *path* next, and a reload repeats nothing."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def wants_json(request: Request) -> bool:
    """Tell whether a script sent the form, and not the browser by itself."""
    return request.headers.get("accept", "").startswith("application/json")


def is_signed_in(request: Request) -> bool:
    return getattr(request.state, "claims", None) is not None


class PageRoute(APIRoute):
    """A route whose errors a person can read; who is not signed in is sent to sign in."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler with its errors turned into pages."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except AutomatchError as exc:
                if wants_json(request):
                    return error_response(exc)
                if isinstance(exc, AuthError | ProfileNotFoundError):
                    return go_to("/sign-in")
                status = status_of(exc)
                page = ErrorPage(
                    title=HTTPStatus(status).phrase,
                    status=status,
                    message=exc.message,
                    signed_in=is_signed_in(request),
                )
                return show(page, status)

        return handle
