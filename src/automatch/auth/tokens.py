"""Access tokens: JWTs with the claims of Supabase, ours signed with one key and one algorithm.

Where another server signs people in, access tokens come from that issuer, and only keys are ours.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import OctKey

from automatch.auth.issuer import (
    SECRET_KEY_PREFIX,
    Issuer,
    SecretKeys,
    decode,
    issuer_from,
    secret_keys_from,
)
from automatch.auth.jwt_claims import read_claims
from automatch.auth.project_keys import ProjectKeys
from automatch.auth.server_identity import prove_identity
from automatch.errors.auth import TokenInvalidError, TokenMissingError
from automatch.model.people import Claims, Role, User
from automatch.settings import Settings
from automatch.settings.secrets import Secrets
from automatch.settings.server import AuthSettings

if TYPE_CHECKING:
    from starlette.datastructures import Headers

ISSUER = "automatch/auth/v1"
_SMOKE_TEST_ISSUER = f"{ISSUER}/smoke-test"
_ALGORITHM = "HS256"
_MAX_BYTES = 8192
_MAX_REMEMBERED = 16_384
"""Tokens whose signatures are not checked again: more than a server has connections, or of all who
come back in the same order each would be forgotten before its turn."""


def bearer_token(headers: Headers) -> str:
    """Return the access token of a request, or the secret key in its `apikey` header.

    Raises:
        TokenMissingError: it has none.
        TokenInvalidError: it has several, or another kind of authorization.
    """
    sent = headers.getlist("authorization")
    keys = headers.getlist("apikey")
    if not sent and len(keys) == 1 and keys[0].startswith(SECRET_KEY_PREFIX):
        return keys[0]
    if len(sent) > 1:
        raise TokenInvalidError
    kind, _, token = "".join(sent).partition(" ")
    if not token.strip():
        raise TokenMissingError
    if kind.lower() != "bearer":
        raise TokenInvalidError
    return token.strip()


def header_of(token: str) -> dict[str, Any]:
    """Return the header of a token, which proves nothing; empty when it is not a token."""
    head = token[:_MAX_BYTES].partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


class Tokens:
    """Issues and checks access tokens."""

    def __init__(
        self,
        secret: str,
        settings: AuthSettings,
        *,
        issuer: Issuer | None = None,
        secret_keys: SecretKeys | None = None,
        old_secret: tuple[str, int] | None = None,
        project_keys: ProjectKeys | None = None,
    ) -> None:
        """Sign with *secret*; *old_secret* verifies too, until a time since the epoch."""
        self._key = OctKey.import_key(secret)
        self._old_key = OctKey.import_key(old_secret[0]) if old_secret else None
        self._old_until = old_secret[1] if old_secret else 0
        self._secret = secret
        self._settings = settings
        self._issuer = issuer
        self._secret_keys = secret_keys or SecretKeys([])
        self._project_keys = project_keys
        self._verified: dict[bytes, Claims] = {}

    @property
    def issuer(self) -> Issuer | None:
        """The server that signs people in; None when they sign in here."""
        return self._issuer

    @property
    def life_s(self) -> int:
        return self._settings.access_token_s

    def prove_identity(self, challenge: str) -> str:
        """Return the proof that this server has the secret of its installation."""
        return prove_identity(self._secret, challenge)

    def issue(self, user: User, session_id: UUID, *, for_smoke_test: bool = False) -> str:
        """Return a short-lived token of a signed-in user.

        One *for_smoke_test* is valid where another server signs people in too: the two people of a
        smoke test exist here alone, and the database asks whether their run goes on.
        """
        now = int(time.time())
        signed_in_at = int(user.signed_in_at.timestamp()) if user.signed_in_at else now
        return self._encode(
            {
                "iss": _SMOKE_TEST_ISSUER if for_smoke_test else ISSUER,
                "sub": str(user.id),
                "aud": "authenticated",
                "role": Role.AUTHENTICATED.value,
                "email": user.email,
                "phone": "",
                "app_metadata": user.app_metadata,
                "user_metadata": user.user_metadata,
                "aal": "aal1",
                "amr": [{"method": "password", "timestamp": signed_in_at}],
                "session_id": str(session_id),
                "is_anonymous": False,
                "exp": now + self._settings.access_token_s,
            }
        )

    def issue_key(self, role: Role, *, life_s: int = 365 * 86400, key_id: str | None = None) -> str:
        """Return a key of the project, as Supabase's legacy `anon` and `service_role` keys are.

        With *key_id* it can be ended; keys without one are made for a moment.
        """
        claims: dict[str, object] = {"role": role.value, "exp": int(time.time()) + life_s}
        return self._encode(claims if key_id is None else claims | {"jti": key_id})

    def verify(self, token: str) -> Claims:
        """Return the claims of a valid token.

        Raises:
            TokenInvalidError: it was not signed by us or the issuer, or its claims are wrong.
            TokenExpiredError: it was valid, but no longer is.
            IssuerUnavailableError: the keys of the issuer are not available.
        """
        if len(token) > _MAX_BYTES:
            raise TokenInvalidError
        if token.startswith(SECRET_KEY_PREFIX):
            return self._secret_keys.verify(token)
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        if (known := self._verified.get(digest)) is not None and not self._has_expired(known):
            return known
        try:
            payload = self._decode_own(token)
            claims = read_claims(
                payload, issuers=(ISSUER, _SMOKE_TEST_ISSUER), leeway_s=self._settings.leeway_s
            )
        except TokenInvalidError:
            if self._issuer is None:
                raise
            return self._issuer.verify(token, header_of(token))
        is_of_user = claims.role is Role.AUTHENTICATED and payload["iss"] != _SMOKE_TEST_ISSUER
        if self._issuer is not None and is_of_user:
            # Issued before an issuer was configured, which knows nothing of that session.
            raise TokenInvalidError
        # A key can be ended, and the old secret is good for a while only.
        if claims.role is Role.AUTHENTICATED and self._old_key is None:
            self._remember(digest, claims)
        return claims

    def _has_expired(self, claims: Claims) -> bool:
        assert claims.expires_at is not None
        return claims.expires_at < time.time() - self._settings.leeway_s

    def _remember(self, digest: bytes, claims: Claims) -> None:
        self._verified[digest] = claims
        if len(self._verified) > _MAX_REMEMBERED:
            del self._verified[next(iter(self._verified))]

    def _decode_own(self, token: str) -> dict[str, Any]:
        try:
            payload = decode(token, self._key, _ALGORITHM)
        except TokenInvalidError:
            if self._old_key is None or time.time() > self._old_until:
                raise
            payload = decode(token, self._old_key, _ALGORITHM)
        if self._project_keys is not None and isinstance(key_id := payload.get("jti"), str):
            self._project_keys.check(key_id)
        return payload

    async def identify(self, token: str) -> Claims:
        """Fetch the issuer's keys if the token names one that is not known yet, then verify it.

        Raises: see `verify`.
        """
        if self._issuer is not None and self._issuer.keys is not None:
            kid = header_of(token).get("kid")
            if isinstance(kid, str):
                await self._issuer.keys.look_up(kid)
        return self.verify(token)

    def _encode(self, claims: dict[str, object]) -> str:
        header = {"alg": _ALGORITHM, "typ": "JWT"}
        return jwt.encode(
            header, {"iss": ISSUER, "iat": int(time.time()), **claims}, self._key, [_ALGORITHM]
        )


def tokens_from(settings: Settings, secrets: Secrets) -> Tokens:
    """Return the tokens that *settings* ask for; *secrets* sign our own."""
    old = (secrets.old_jwt_secret, secrets.old_jwt_until)
    return Tokens(
        secrets.jwt_secret,
        settings.auth,
        old_secret=old if secrets.old_jwt_secret else None,
        project_keys=ProjectKeys(settings.home),
        issuer=issuer_from(settings),
        secret_keys=secret_keys_from(settings),
    )
