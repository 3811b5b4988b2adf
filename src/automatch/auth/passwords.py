"""Password hashes: Argon2id with argon2-cffi's defaults, the low-memory set of RFC 9106."""

from __future__ import annotations

from functools import cache

import anyio.to_thread
from anyio import CapacityLimiter
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher()


@cache
def _limiter() -> CapacityLimiter:
    # Each hash takes 64 MiB: a flood of sign-ins waits here and not in memory.
    return CapacityLimiter(2)


async def hash_password(password: str) -> str:
    return await anyio.to_thread.run_sync(_HASHER.hash, password, limiter=_limiter())


async def verify_password(password: str, encrypted: str | None) -> bool:
    """Tell whether a password is right; takes equally long without an account (None)."""
    return await anyio.to_thread.run_sync(_verify, password, encrypted, limiter=_limiter())


def _verify(password: str, encrypted: str | None) -> bool:
    if encrypted is None:
        _HASHER.hash(password)
        return False
    try:
        return _HASHER.verify(encrypted, password)
    except InvalidHashError:
        # An imported account has no password, which must not show in the time either.
        _HASHER.hash(password)
        return False
    except VerificationError:
        return False
