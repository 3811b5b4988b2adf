"""The public keys of an issuer of tokens, as its JWKS endpoint publishes them.

They are fetched in the background, so that requests rarely wait: only a request whose token names
an unknown key does, because the issuer may have started to sign with a new one. The number of such
fetches does not depend on the number of such tokens, or anybody could make this server send many.
A key that is no longer published is forgotten. While the issuer does not answer, the last keys
stay valid for some hours; after that no token can be verified, and all are refused.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from automatch.errors.auth import IssuerUnavailableError

_REFRESH_S = 600.0
"""Seconds between two fetches; Supabase lets caches keep the answer as long."""

_RETRY_S = 30.0
"""Seconds before another fetch after a failed one, or because of an unknown key."""

_STALE_S = 4 * 3600.0
"""Seconds for which the keys of the last answer stay valid when no further answer comes."""

_TIMEOUT_S = 5.0
_MAX_BYTES = 64 * 1024
_MAX_KEYS = 32
_MIN_RSA_BITS = 2048

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JwksKey:
    """A public key with the one algorithm that it checks, whatever a token says of itself."""

    key: ECKey | RSAKey
    algorithm: str


class JwksCache:
    """What an address published last, by key id."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str, JwksKey] = {}
        self._fetched_at: float | None = None
        self._looked_up_at: float | None = None
        self._fetching = asyncio.Lock()

    def find(self, kid: str) -> JwksKey | None:
        """Return the key with this id, or None when the issuer has no such key.

        Raises:
            IssuerUnavailableError: the keys were never fetched, or too long ago.
        """
        if self._fetched_at is None or self._clock() - self._fetched_at > _STALE_S:
            raise IssuerUnavailableError
        return self._keys.get(kid)

    async def look_up(self, kid: str) -> None:
        """Fetch the keys if this id is unknown, unless they were fetched a moment ago."""
        if self._is_known(kid):
            return
        # A request that waited here for the fetch of another one has the answer then.
        async with self._fetching:
            now = self._clock()
            if self._is_known(kid) or self._was_looked_up(now):
                return
            self._looked_up_at = now
            await self._fetch()

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        while True:
            async with self._fetching:
                succeeded = await self._fetch()
            await asyncio.sleep(_REFRESH_S if succeeded else _RETRY_S)

    def _is_known(self, kid: str) -> bool:
        return (
            kid in self._keys
            and self._fetched_at is not None
            and self._clock() - self._fetched_at <= _STALE_S
        )

    def _was_looked_up(self, now: float) -> bool:
        return self._looked_up_at is not None and now - self._looked_up_at < _RETRY_S

    async def _fetch(self) -> bool:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                document = await _read(self._url)
            keys = _parse(document)
        except (httpx2.HTTPError, ValueError, TimeoutError) as exc:
            log.warning("keys of the issuer are not available", error=type(exc).__name__)
            return False
        if keys.keys() != self._keys.keys():
            log.info("keys of the issuer changed", count=len(keys))
        self._keys, self._fetched_at = keys, self._clock()
        return True


async def _read(url: str) -> bytes:
    # Redirects are not followed: the operator trusts this address and no other.
    async with (
        httpx2.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client,
        client.stream("GET", url, headers={"accept": "application/json"}) as answer,
    ):
        if answer.status_code != 200:
            raise ValueError("no 200")
        content = bytearray()
        async for part in answer.aiter_bytes():
            content += part
            if len(content) > _MAX_BYTES:
                raise ValueError("too long")
        return bytes(content)


def _parse(document: bytes) -> dict[str, JwksKey]:
    try:
        listed = list(json.loads(document)["keys"])[:_MAX_KEYS]
    except (KeyError, TypeError, RecursionError) as exc:
        raise ValueError("no key set") from exc
    found: dict[str, JwksKey] = {}
    for jwk in listed:
        # A key that cannot be used does not make the others unusable.
        key = _import(jwk) if isinstance(jwk, dict) else None
        if key is not None:
            found.setdefault(jwk["kid"], key)
    return found


def _import(jwk: dict[str, Any]) -> JwksKey | None:
    if not isinstance(jwk.get("kid"), str) or jwk.get("use", "sig") != "sig":
        return None
    try:
        key: ECKey | RSAKey
        match jwk.get("kty"):
            case "EC" if jwk.get("crv") == "P-256":
                key, algorithm = ECKey.import_key(jwk), "ES256"
            # The library itself warns of short keys. Four characters of base64 hold three bytes.
            case "RSA" if len(jwk.get("n", "")) * 6 >= _MIN_RSA_BITS:
                key, algorithm = RSAKey.import_key(jwk), "RS256"
                if key.public_key.key_size < _MIN_RSA_BITS:
                    return None
            case _:
                # A symmetric key that is published would be known to everybody.
                return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return JwksKey(key, algorithm) if jwk.get("alg", algorithm) == algorithm else None
