"""Who may use the AI service: whoever holds its own key, or the project's."""

from __future__ import annotations

import secrets

from automatch.auth.tokens import Tokens
from automatch.errors.auth import TokenInvalidError
from automatch.model.people import Claims, Role


class AiKeys:
    """Tells the keys of the AI service from everything else."""

    def __init__(self, key: str | None, tokens: Tokens | None) -> None:
        """Take either, or both: *key* as `AUTOMATCH_AI_KEY` says, *tokens* of the project."""
        self._key = key
        self._tokens = tokens

    def verify(self, token: str) -> Claims:
        """Return who a token speaks for.

        Raises:
            AuthError: it speaks for nobody, or no longer.
        """
        if self._key and secrets.compare_digest(token.encode(), self._key.encode()):
            return Claims(role=Role.SERVICE)
        if self._tokens is None:
            raise TokenInvalidError("This is not the key of the AI service (AUTOMATCH_AI_KEY).")
        return self._tokens.verify(token)
