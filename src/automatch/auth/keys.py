"""The keys that programs call with: of functions, and of the AI service.

A Supabase client sends a key in `apikey`, in `Authorization`, or one in each; the stronger counts.
"""

from __future__ import annotations

import re
import secrets

from pydantic import SecretStr
from starlette.datastructures import Headers

from automatch.auth.tokens import Tokens, bearer_token
from automatch.errors.auth import AuthError, TokenInvalidError, TokenMissingError
from automatch.errors.request import ForbiddenError
from automatch.model.people import SERVICE, Claims, Role
from automatch.store.database import Database
from automatch.store.matching import match_generator

_TRIGGER_KEY = re.compile("amt_[0-9a-f]{64}")


class FunctionKeys:
    """Accepts the keys that may call functions."""

    def __init__(self, db: Database, tokens: Tokens) -> None:
        self._db = db
        self._tokens = tokens

    async def identify(self, headers: Headers) -> Claims:
        """Return the claims of the service.

        Raises:
            TokenMissingError: no key was sent.
            TokenInvalidError: no key of this project, or a malformed one.
            TokenExpiredError: it was valid, but no longer is.
            ForbiddenError: it is the token of a person, or the `anon` key.
        """
        refusal: AuthError | ForbiddenError = TokenMissingError()
        for key in _keys(headers):
            try:
                if await self._is_service(key):
                    return SERVICE
            except AuthError as exc:
                refusal = refusal if isinstance(refusal, ForbiddenError) else exc
            else:
                refusal = ForbiddenError(
                    "This needs the service_role key (`automatch token --role service_role`), not "
                    "the anon key or the token of a person."
                )
        raise refusal

    async def _is_service(self, key: str) -> bool:
        if _TRIGGER_KEY.fullmatch(key):
            async with self._db.connection() as conn:
                if await match_generator.is_trigger_key(conn, key):
                    return True
            raise TokenInvalidError
        return (await self._tokens.identify(key)).role is Role.SERVICE


def check_metrics_token(token: SecretStr | None, headers: Headers) -> None:
    """Return when a request carries the token for metrics.

    Raises:
        TokenMissingError: it carries none.
        TokenInvalidError: it carries another, or none would do.
    """
    given = bearer_token(headers)
    # As bytes: of text it compares ASCII alone.
    if token is None or not secrets.compare_digest(
        token.get_secret_value().encode(), given.encode()
    ):
        raise TokenInvalidError("This is not AUTOMATCH_METRICS__TOKEN.")


class AiKeys:
    """Accepts the keys of the AI service."""

    def __init__(self, key: str | None, tokens: Tokens | None) -> None:
        """Accept *key*, the setting `AUTOMATCH_AI_KEY`, tokens of the project, or both."""
        self._key = key
        self._tokens = tokens

    async def identify(self, token: str) -> Claims:
        """Return the claims of a valid key.

        Raises:
            AuthError: it is not valid, or no longer.
        """
        if self._key and secrets.compare_digest(token.encode(), self._key.encode()):
            return Claims(role=Role.SERVICE)
        if self._tokens is None:
            raise TokenInvalidError("This is not the key of the AI service (AUTOMATCH_AI_KEY).")
        return await self._tokens.identify(token)


def _keys(headers: Headers) -> list[str]:
    keys = headers.getlist("apikey")[:1]
    try:
        return [*keys, bearer_token(headers)]
    except TokenMissingError:
        return keys
