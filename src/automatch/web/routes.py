"""The pages, the static files, and the answer to unknown paths."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from automatch.errors.request import NotFoundError
from automatch.http.declaration import Access, declare
from automatch.http.errors import error_response
from automatch.http.security_headers import POLICY_OF_FILES
from automatch.web import app_shell_pages
from automatch.web.accounts import (
    account_pages,
    mailed_link_pages,
    notification_pages,
    sign_in_settings_pages,
    start_pages,
)
from automatch.web.console import PAGES as CONSOLE_PAGES
from automatch.web.matching import feed_pages, like_pages, match_pages
from automatch.web.pages import show_error
from automatch.web.people import language_pages, membership_pages, profile_pages
from automatch.web.photos import challenge_pages, photo_pages
from automatch.web.protection import data_pages, privacy_pages, report_pages
from automatch.web.templating import STATIC_FOLDER, static_version


class _ImmutableFiles(StaticFiles):
    """Static files that never change, because their address contains a hash of them."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Let the browser cache the file for a year."""
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        response.headers["content-security-policy"] = POLICY_OF_FILES
        return response


def add_pages(app: FastAPI) -> None:
    """Add the pages to *app*, and a page for addresses that no route has."""
    static_files = declare(Access.ANYONE)(_ImmutableFiles(directory=STATIC_FOLDER))
    app.mount(f"/static/{static_version()}", static_files)
    for pages in (
        feed_pages,
        app_shell_pages,
        start_pages,
        account_pages,
        membership_pages,
        notification_pages,
        data_pages,
        sign_in_settings_pages,
        mailed_link_pages,
        privacy_pages,
        profile_pages,
        language_pages,
        report_pages,
        like_pages,
        match_pages,
        photo_pages,
        challenge_pages,
        *CONSOLE_PAGES,
    ):
        app.router.routes.extend(pages.router.routes)
    app.router.redirect_slashes = False
    app.router.default = _answer_unknown_address


async def _answer_unknown_address(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http" and scope["method"] == "GET":
        request = Request(scope)
        # A browser that opens an address asks for HTML; a program that lost its way does not.
        wants_page = "text/html" in request.headers.get("accept", "")
        if wants_page and scope["state"]["access"] is Access.PAGE_COOKIE:
            response = show_error(request, NotFoundError("There is no such page."))
            await response(scope, receive, send)
            return
    elif scope["type"] == "websocket":
        answer = error_response(NotFoundError("There is no such address."))
        await WebSocket(scope, receive, send).send_denial_response(answer)
        return
    raise HTTPException(404)
