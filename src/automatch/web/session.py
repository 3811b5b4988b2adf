"""The session of a browser: two tokens in cookies that scripts cannot read.

When the short-lived access token has expired, a request renews both with the refresh token, so
nobody with a valid session is sent to the sign-in page.
"""

from __future__ import annotations

import time
from http.cookies import SimpleCookie

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Scope

from automatch.errors.auth import AuthError
from automatch.errors.request import ForbiddenError, RateLimitedError, SignInElsewhereError
from automatch.http.client_address import client_address
from automatch.http.deps import Services
from automatch.http.middleware.authentication import Identity
from automatch.http.origins import comes_from_us
from automatch.language.catalogue import COOKIE as LANGUAGE_COOKIE
from automatch.model.people import Claims
from automatch.services.accounts.accounts import Session
from automatch.settings import Settings

_ACCESS = "automatch_access"
_REFRESH = "automatch_refresh"
DONE_COOKIE = "automatch_done"
"""What was just done, for the next page to tell."""
_LANGUAGE_LIFE_S = 365 * 86400
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


def write_cookie(settings: Settings, name: str, value: str, life_s: int, *, path: str = "/") -> str:
    """Return the `Set-Cookie` value of a cookie that no script reads and no other site sends."""
    cookie: SimpleCookie = SimpleCookie()
    cookie[name] = value
    cookie[name]["path"] = path
    cookie[name]["max-age"] = str(life_s)
    cookie[name]["httponly"] = True
    cookie[name]["samesite"] = "Lax"
    if settings.is_public_https:
        cookie[name]["secure"] = True
    return cookie[name].OutputString()


class CookieSession:
    """Reads and writes the session cookies."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def identify(self, scope: Scope) -> Identity:
        """Return the caller, and the cookies to set if the session was renewed.

        Raises:
            ForbiddenError: the form was sent by another site.
        """
        headers = Headers(scope=scope)
        self._refuse_other_sites(scope, headers)
        cookies = cookie_parser(headers.get("cookie", ""))
        claims = self._claims_of(cookies.get(_ACCESS, ""))
        if claims is not None:
            return Identity(claims)
        if _REFRESH not in cookies:
            return Identity(None)
        try:
            session = await self._services.accounts.refresh(
                cookies[_REFRESH], address=client_address(scope)
            )
        except RateLimitedError as exc:
            # The cookies stay, and the page shows why.
            scope["state"]["refusal"] = exc
            return Identity(None)
        except (AuthError, SignInElsewhereError):
            return Identity(None, self.forget())
        return Identity(self._services.tokens.verify(session.access_token), self.remember(session))

    def remember(self, session: Session) -> list[str]:
        """Return the `Set-Cookie` values that keep someone signed in."""
        life_s = self._services.settings.auth.refresh_token_s
        return [
            self._cookie(_ACCESS, session.access_token, session.expires_in),
            self._cookie(_REFRESH, session.refresh_token, life_s),
            # So that a choice on one device holds on all of them.
            *([self.choose_language(session.language)] if session.language else []),
        ]

    def choose_language(self, language: str | None) -> str:
        """Return the `Set-Cookie` value that keeps a language; None goes back to the browser's."""
        return self._cookie(LANGUAGE_COOKIE, language or "", _LANGUAGE_LIFE_S if language else 0)

    def forget(self) -> list[str]:
        """Return the `Set-Cookie` values that sign someone out."""
        return [self._cookie(_ACCESS, "", 0), self._cookie(_REFRESH, "", 0)]

    def clear(self, response: Response) -> Response:
        """Sign someone out, and have the browser erase what it keeps; others may use it next."""
        response.headers["clear-site-data"] = '"cache", "storage"'
        for cookie in (*self.forget(), self._cookie(DONE_COOKIE, "", 0)):
            response.headers.append("set-cookie", cookie)
        return response

    def _claims_of(self, token: str) -> Claims | None:
        try:
            claims = self._services.tokens.verify(token)
        except AuthError:
            return None
        # `verify` accepts tokens that expired seconds ago, but a stream would end at once.
        return claims if (claims.expires_at or 0) > time.time() else None

    def _cookie(self, name: str, value: str, life_s: int) -> str:
        return write_cookie(self._services.settings, name, value, life_s)

    def _refuse_other_sites(self, scope: Scope, headers: Headers) -> None:
        # SameSite=Lax keeps the cookies from other sites' forms, but to a browser other ports of
        # this host are the same site. A websocket is opened by a GET.
        if scope.get("method", "GET") in _SAFE_METHODS:
            return
        if headers.get("sec-fetch-site") in {"cross-site", "same-site"} or not comes_from_us(
            scope, self._services.settings
        ):
            raise ForbiddenError("This form was sent from another site.", case="other_site")
