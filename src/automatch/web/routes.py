"""All pages of the server, and its static files."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from automatch.errors import NotFoundError
from automatch.web import account_pages, feed_pages
from automatch.web.pages import PageRoute, go_to, is_signed_in
from automatch.web.views import STATIC_FOLDER, static_version


class _ForeverFiles(StaticFiles):
    """Static files whose address changes with their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """Let the browser keep the file for a year."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]  # passed on
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def add_pages(app: FastAPI) -> None:
    """Add the pages to *app*; last of all, because the last of them answers everything."""
    app.mount(f"/static/{static_version()}", _ForeverFiles(directory=STATIC_FOLDER))
    app.include_router(account_pages.router)
    app.include_router(feed_pages.router)
    app.router.add_api_route(
        "/", _home, include_in_schema=False, response_class=HTMLResponse, methods=["GET"]
    )
    app.router.add_api_route(
        "/{path:path}",
        _nowhere,
        include_in_schema=False,
        response_class=HTMLResponse,
        methods=["GET"],
        route_class_override=PageRoute,
    )


async def _home(request: Request) -> Response:
    return go_to("/feed" if is_signed_in(request) else "/sign-in")


async def _nowhere() -> Response:
    raise NotFoundError("There is no such page.")
