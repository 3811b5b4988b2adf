"""The claims of an access token, once its signature is known to be right."""

from __future__ import annotations

import time
from collections.abc import Container
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from automatch.errors.auth import TokenExpiredError, TokenInvalidError
from automatch.model.people import Claims, Role

_AUDIENCE = "authenticated"


class _WireClaims(BaseModel):
    """The claims a token must have, each of its exact type: "9999999999" is no time."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    iss: str
    role: Literal["anon", "authenticated", "service_role"]
    exp: int
    iat: int
    aud: str | list[str] | None = None
    sub: str | None = None
    session_id: str | None = None
    email: str | None = None


def read_claims(payload: dict[str, Any], *, issuers: Container[str], leeway_s: int) -> Claims:
    """Return who a token with these claims speaks for.

    A person is told by subject, session and audience; a key of the project by its role alone.

    Raises:
        TokenInvalidError: a claim is missing or of another form, or somebody else issued it.
        TokenExpiredError: it was good, but no longer is.
    """
    try:
        wire = _WireClaims.model_validate(payload)
        claims = Claims(
            role=Role(wire.role),
            subject=UUID(wire.sub) if wire.sub is not None else None,
            session_id=UUID(wire.session_id) if wire.session_id is not None else None,
            email=wire.email,
            expires_at=wire.exp,
        )
    except (ValidationError, ValueError) as exc:
        raise TokenInvalidError from exc
    if wire.iss not in issuers:
        raise TokenInvalidError
    audience = [wire.aud] if isinstance(wire.aud, str) else wire.aud
    if audience is not None and _AUDIENCE not in audience:
        raise TokenInvalidError
    if claims.role is Role.AUTHENTICATED and (
        claims.subject is None or claims.session_id is None or audience is None
    ):
        raise TokenInvalidError
    now = time.time()
    if wire.iat > now + leeway_s:
        raise TokenInvalidError
    if wire.exp < now - leeway_s:
        raise TokenExpiredError
    return claims
