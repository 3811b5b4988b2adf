"""Proof that a server has the secrets of this installation, given before any is sent to it."""

from __future__ import annotations

import hashlib
import hmac
import secrets

import httpx2

CHALLENGE = r"^[0-9a-f]{32}$"
_PURPOSE = b"automatch server identity"


def prove_identity(jwt_secret: str, challenge: str) -> str:
    """Return what only a server with this secret can answer: an HMAC-SHA256, in hex."""
    # A key of its own, so that no answer is a signature of anything else.
    key = hmac.digest(jwt_secret.encode(), _PURPOSE, hashlib.sha256)
    return hmac.digest(key, challenge.encode(), hashlib.sha256).hex()


async def is_server_ours(http: httpx2.AsyncClient, url: str, jwt_secret: str) -> bool:
    """Ask the server at an address for its proof.

    Raises:
        httpx2.HTTPError: it does not answer.
    """
    challenge = secrets.token_hex(16)
    answer = await http.get(f"{url}/api/identity", params={"challenge": challenge})
    try:
        proof = str(answer.json()["proof"])
    except (ValueError, KeyError, TypeError):
        return False
    return hmac.compare_digest(proof.encode(), prove_identity(jwt_secret, challenge).encode())
