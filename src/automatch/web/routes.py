"""The pages, the static files, and the answer to unknown paths."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from automatch.errors.request import NotFoundError
from automatch.http.middleware.auth_and_limits import is_page
from automatch.web import account_pages, feed_pages
from automatch.web.pages import go_to, is_signed_in, show_error
from automatch.web.templating import STATIC_FOLDER, static_version

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class _ImmutableFiles(StaticFiles):
    """Static files that never change, because their address contains a hash of them."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Let the browser cache the file for a year."""
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def add_pages(app: FastAPI) -> None:
    """Add the pages to *app*, after all other routes: the last one answers every path."""
    app.mount(f"/static/{static_version()}", _ImmutableFiles(directory=STATIC_FOLDER))
    app.include_router(account_pages.router)
    app.include_router(feed_pages.router)
    app.router.add_api_route(
        "/", _home, include_in_schema=False, response_class=HTMLResponse, methods=["GET"]
    )
    app.router.redirect_slashes = False
    app.mount("/", _NotFound(list(app.routes)))


async def _home(request: Request) -> Response:
    return go_to("/feed" if is_signed_in(request) else "/sign-in")


class _NotFound:
    """Answers every path that no route has, with a page or an error of the API."""

    def __init__(self, routes: list[BaseRoute]) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_page(scope["path"]) and scope["method"] == "GET":
            response = show_error(Request(scope), NotFoundError("There is no such page."))
            await response(scope, receive, send)
            return
        # The router itself only knows the methods of the first route of a path.
        allowed = [method for method in _METHODS if self._answers(scope, method)]
        if allowed:
            raise HTTPException(405, headers={"allow": ", ".join(allowed)})
        raise HTTPException(404)

    def _answers(self, scope: Scope, method: str) -> bool:
        changed = {**scope, "method": method}
        return any(route.matches(changed)[0] is Match.FULL for route in self._routes)
