"""The public keys of an issuer of tokens, as its JWKS endpoint publishes them.

They are fetched in the background, so that a request hardly ever waits for it: only one whose
token names a key that is not known yet does, because the issuer may have begun to sign with a new
one. How often that is looked up does not depend on how many such tokens come, or anybody could make
us ask. A key that is published no more is known no more. While the issuer does not answer, the last
keys hold for some hours; then genuine tokens cannot be told from others, and none is taken.
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

_FRESH_S = 600.0
"""Seconds between two looks; as long as Supabase itself lets caches keep the answer."""

_RETRY_S = 30.0
"""Seconds before another look after a failed one, or for the sake of an unknown key."""

_STALE_S = 4 * 3600.0
"""So long the keys of the last answer hold when no further answer comes."""

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
        self._turn = asyncio.Lock()

    def find(self, kid: str) -> JwksKey | None:
        """Return the key of this id, or None when the issuer has none such.

        Raises:
            IssuerUnavailableError: the keys are not known, or it is too long ago that they were.
        """
        if self._fetched_at is None or self._clock() - self._fetched_at > _STALE_S:
            raise IssuerUnavailableError
        return self._keys.get(kid)

    async def look_up(self, kid: str) -> None:
        """Ask the issuer if it has a key of this id, unless that is known or was just asked."""
        if self._is_known(kid):
            return
        # Whoever waits here for somebody else's answer has it then.
        async with self._turn:
            now = self._clock()
            if self._is_known(kid) or self._was_looked_up(now):
                return
            self._looked_up_at = now
            await self._fetch()

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        while True:
            async with self._turn:
                succeeded = await self._fetch()
            await asyncio.sleep(_FRESH_S if succeeded else _RETRY_S)

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
            log.warning("keys of the issuer are not to be had", error=type(exc).__name__)
            return False
        if keys.keys() != self._keys.keys():
            log.info("keys of the issuer", count=len(keys))
        self._keys, self._fetched_at = keys, self._clock()
        return True


async def _read(url: str) -> bytes:
    # Redirects are not followed: the address is the operator's word on whom to trust.
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
        # One that we have no use for says nothing against the others.
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
            # Four characters of base64 hold three bytes; the library warns of short keys itself.
            case "RSA" if len(jwk.get("n", "")) * 6 >= _MIN_RSA_BITS:
                key, algorithm = RSAKey.import_key(jwk), "RS256"
                if key.public_key.key_size < _MIN_RSA_BITS:
                    return None
            case _:
                # A symmetric key among them would be one that everybody knows.
                return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return JwksKey(key, algorithm) if jwk.get("alg", algorithm) == algorithm else None
