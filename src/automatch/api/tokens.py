"""Access tokens: JWTs in the claim form of Supabase, signed with one key and one algorithm."""

from __future__ import annotations

import time
from typing import Literal
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import Headers

from automatch.errors import TokenExpiredError, TokenInvalidError, TokenMissingError
from automatch.model import Claims, Role, User
from automatch.settings import AuthSettings

ISSUER = "automatch/auth/v1"
_ALGORITHM = "HS256"
_MAX_BYTES = 8192


def bearer_token(headers: Headers) -> str:
    """Return the access token of a request.

    Raises:
        TokenMissingError: it has none.
        TokenInvalidError: it has several, or something else in their place.
    """
    sent = headers.getlist("authorization")
    if len(sent) > 1:
        raise TokenInvalidError
    kind, _, token = "".join(sent).partition(" ")
    if not token.strip():
        raise TokenMissingError
    if kind.lower() != "bearer":
        raise TokenInvalidError
    return token.strip()


class _WireClaims(BaseModel):
    """The claims a token must have, each of its exact type: "9999999999" is no time."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    iss: Literal["automatch/auth/v1"]
    role: Literal["anon", "authenticated", "service_role"]
    exp: int
    iat: int
    aud: Literal["authenticated"] | None = None
    sub: str | None = None
    session_id: str | None = None
    email: str | None = None


class Tokens:
    """Issues and checks access tokens."""

    def __init__(self, secret: str, settings: AuthSettings) -> None:
        self._key = OctKey.import_key(secret)
        self._settings = settings

    @property
    def life_s(self) -> int:
        return self._settings.access_token_s

    def issue(self, user: User, session_id: UUID) -> str:
        """Return a short-lived token of a signed-in user."""
        now = int(time.time())
        return self._encode(
            {
                "sub": str(user.id),
                "aud": "authenticated",
                "role": Role.AUTHENTICATED.value,
                "email": user.email,
                "phone": "",
                "app_metadata": user.app_metadata,
                "user_metadata": user.user_metadata,
                "aal": "aal1",
                "amr": [{"method": "password", "timestamp": now}],
                "session_id": str(session_id),
                "is_anonymous": False,
                "exp": now + self._settings.access_token_s,
            }
        )

    def issue_key(self, role: Role, *, life_s: int = 10 * 365 * 86400) -> str:
        """Return a key of the project, as Supabase's legacy `anon` and `service_role` keys are."""
        return self._encode({"role": role.value, "exp": int(time.time()) + life_s})

    def verify(self, token: str) -> Claims:
        """Return who a token speaks for.

        Raises:
            TokenInvalidError: it is not one of ours, or not of the form that ours have.
            TokenExpiredError: it was, but no longer.
        """
        if len(token) > _MAX_BYTES:
            raise TokenInvalidError
        try:
            decoded = jwt.decode(token, self._key, algorithms=[_ALGORITHM])
            wire = _WireClaims.model_validate(decoded.claims)
            claims = Claims(
                role=Role(wire.role),
                subject=UUID(wire.sub) if wire.sub is not None else None,
                session_id=UUID(wire.session_id) if wire.session_id is not None else None,
                email=wire.email,
                expires_at=wire.exp,
            )
        except (JoseError, ValidationError, ValueError) as exc:
            raise TokenInvalidError from exc
        if claims.role is Role.AUTHENTICATED and (
            claims.subject is None or claims.session_id is None or wire.aud is None
        ):
            raise TokenInvalidError
        now = time.time()
        if wire.iat > now + self._settings.leeway_s:
            raise TokenInvalidError
        if wire.exp < now - self._settings.leeway_s:
            raise TokenExpiredError
        return claims

    def _encode(self, claims: dict[str, object]) -> str:
        header = {"alg": _ALGORITHM, "typ": "JWT"}
        return jwt.encode(
            header, {"iss": ISSUER, "iat": int(time.time()), **claims}, self._key, [_ALGORITHM]
        )
