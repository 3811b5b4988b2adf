"""Before all else: the key of a request's token, when the issuer has just begun to sign with it."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from automatch.auth.tokens import Tokens, bearer_token
from automatch.errors.auth import AuthError


class JwksRefreshMiddleware:
    """Lets `Tokens.verify`, which waits for nothing, find the keys that it needs."""

    def __init__(self, app: ASGIApp, *, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                token = bearer_token(Headers(scope=scope))
            except AuthError:
                token = ""
            await self._tokens.get_ready(token)
        await self._app(scope, receive, send)
