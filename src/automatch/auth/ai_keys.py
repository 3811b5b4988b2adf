"""The keys that may use the AI service: its own, and the service_role key of the project."""

from __future__ import annotations

import secrets

from automatch.auth.tokens import Tokens
from automatch.errors.auth import TokenInvalidError
from automatch.model.people import Claims, Role


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
