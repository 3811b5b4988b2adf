"""Another server that signs people in: Supabase Auth, or one that issues such tokens."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.util import urlsafe_b64decode

from automatch.auth.jwks import JwksCache
from automatch.auth.jwt_claims import read_claims
from automatch.errors.auth import TokenInvalidError
from automatch.model.people import SERVICE, Claims, Role
from automatch.settings import Settings

SECRET_KEY_PREFIX = "sb_secret_"  # noqa: S105  a prefix, not a key
_PROJECT = "supabase"
"""Issuer of the legacy keys `anon` and `service_role` of a Supabase project."""


class Issuer:
    """Verifies tokens of the issuer, by its published keys or by a secret shared with it."""

    def __init__(
        self, url: str, *, keys: JwksCache | None, shared_secret: str | None, leeway_s: int
    ) -> None:
        self._url = url
        self.keys = keys
        self._shared = OctKey.import_key(shared_secret) if shared_secret else None
        self._leeway_s = leeway_s

    def verify(self, token: str, header: dict[str, Any]) -> Claims:
        """Return the claims of a valid token of the issuer.

        Raises:
            TokenInvalidError: the issuer did not sign it, or not for this server.
            TokenExpiredError: it was valid, but no longer is.
            IssuerUnavailableError: the keys of the issuer are not available.
        """
        if header.get("alg") == "HS256":
            return self._verify_shared(token)
        kid = header.get("kid")
        if self.keys is None or not isinstance(kid, str):
            raise TokenInvalidError
        known = self.keys.find(kid)
        if known is None:
            raise TokenInvalidError
        payload = decode(token, known.key, known.algorithm)
        return self._read(payload, self._url)

    def _verify_shared(self, token: str) -> Claims:
        if self._shared is None:
            raise TokenInvalidError
        payload = decode(token, self._shared, "HS256")
        claims = self._read(payload, self._url, _PROJECT)
        if payload["iss"] == _PROJECT and claims.role is Role.AUTHENTICATED:
            raise TokenInvalidError
        return claims

    def _read(self, payload: dict[str, Any], *issuers: str) -> Claims:
        claims = read_claims(payload, issuers=issuers, leeway_s=self._leeway_s)
        return replace(claims, external=True)


class SecretKeys:
    """Keys that are not tokens and count as the service key: `sb_secret_…` of a project."""

    def __init__(self, keys: list[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def verify(self, key: str) -> Claims:
        """Return the claims of the service.

        Raises:
            TokenInvalidError: it is none of the keys.
        """
        digest = _digest(key)
        # Digests are compared, so that the time it takes reveals nothing about the keys.
        if not any(hmac.compare_digest(digest, known) for known in self._digests):
            raise TokenInvalidError
        return SERVICE


def decode(token: str, key: Any, algorithm: str) -> dict[str, Any]:
    """Return the claims of a token that was signed with this key and algorithm.

    Raises:
        TokenInvalidError: it was not.
    """
    try:
        claims: dict[str, Any] = jwt.decode(token, key, algorithms=[algorithm]).claims
        for part in token.split(".")[:2]:
            json.loads(urlsafe_b64decode(part.encode()), object_pairs_hook=_refuse_duplicates)
    except (JoseError, ValueError, TypeError, RecursionError) as exc:
        raise TokenInvalidError from exc
    return claims


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Another reader of the same token might take the other value.
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("duplicate name")
    return names


def issuer_from(settings: Settings) -> Issuer | None:
    """Return the issuer that *settings* name; None when people sign in here."""
    url = settings.issuer_url
    if url is None:
        return None
    secret = settings.jwt_secret
    return Issuer(
        url,
        keys=JwksCache(settings.keys_url) if settings.keys_url else None,
        shared_secret=secret.get_secret_value() if secret else None,
        leeway_s=settings.auth.leeway_s,
    )


def secret_keys_from(settings: Settings) -> SecretKeys:
    """Return the secret keys that *settings* name."""
    return SecretKeys(settings.listed_secret_keys)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
