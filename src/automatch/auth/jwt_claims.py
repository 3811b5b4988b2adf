"""The claims of an access token whose signature has been verified."""

from __future__ import annotations

import time
from collections.abc import Container
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from automatch.errors.auth import TokenExpiredError, TokenInvalidError
from automatch.model.people import Claims, Role

_AUDIENCE = "authenticated"
_MAX_LIFE_S = 7 * 86400
"""The longest life of an access token that Supabase Auth can be set to."""
_MAX_KEY_LIFE_S = 11 * 366 * 86400
"""The legacy keys of a Supabase project live for ten years."""


class _JwtClaims(BaseModel):
    """The claims that a token must have, each of its exact type: "9999999999" is not a time."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    iss: str
    role: Literal["anon", "authenticated", "service_role"]
    exp: int
    iat: int
    nbf: int | None = None
    aud: str | list[str] | None = None
    sub: str | None = None
    session_id: str | None = None
    email: str | None = None


def read_claims(payload: dict[str, Any], *, issuers: Container[str], leeway_s: int) -> Claims:
    """Return the claims of a token, checked.

    A person has a subject, a session and an audience; a key of the project has only a role.

    Raises:
        TokenInvalidError: a claim is missing or malformed, or another issuer made it.
        TokenExpiredError: it was valid, but no longer is.
    """
    try:
        parsed = _JwtClaims.model_validate(payload)
        claims = Claims(
            role=Role(parsed.role),
            subject=UUID(parsed.sub) if parsed.sub is not None else None,
            session_id=UUID(parsed.session_id) if parsed.session_id is not None else None,
            email=parsed.email,
            expires_at=parsed.exp,
        )
    except (ValidationError, ValueError) as exc:
        raise TokenInvalidError from exc
    if parsed.iss not in issuers:
        raise TokenInvalidError
    audience = [parsed.aud] if isinstance(parsed.aud, str) else parsed.aud
    if audience is not None and _AUDIENCE not in audience:
        raise TokenInvalidError
    if claims.role is Role.AUTHENTICATED and (
        claims.subject is None or claims.session_id is None or audience is None
    ):
        raise TokenInvalidError
    now = time.time()
    is_person = claims.role is Role.AUTHENTICATED
    if parsed.exp - now > (_MAX_LIFE_S if is_person else _MAX_KEY_LIFE_S):
        raise TokenInvalidError
    if max(parsed.iat, parsed.nbf or 0) > now + leeway_s:
        raise TokenInvalidError
    if parsed.exp < now - leeway_s:
        raise TokenExpiredError
    return claims
