"""How often one person or one network address may do something, on all servers together."""

from __future__ import annotations

import hashlib
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from uuid import UUID

from automatch.errors import AutomatchError
from automatch.errors.auth import CredentialsInvalidError
from automatch.errors.request import RateLimitedError
from automatch.errors.store import DatabaseUnavailableError
from automatch.settings.limits import LimitSettings, parse_rates
from automatch.store.accounts import rate_limits
from automatch.store.accounts.rate_limits import Charge
from automatch.store.database import Database

_REMEMBERED_S = 30 * 86400.0
_MAX_REMEMBERED = 10_000


class Limit(StrEnum):
    """What is limited; each has a setting of its name."""

    SIGN_UP = "sign_up"
    SIGN_IN = "sign_in"
    SIGN_IN_ADDRESS = "sign_in_address"
    SIGN_IN_ACCOUNT = "sign_in_account"
    REFRESH = "refresh"
    MAILED_LINKS = "mailed_links"
    MAILED_LINKS_ACCOUNT = "mailed_links_account"
    REPORTS = "reports"
    LIKES = "likes"
    TAKE_DOWNS = "take_downs"
    TAKE_DOWNS_ACCOUNT = "take_downs_account"
    UPLOADS = "uploads"
    SEARCHES = "searches"
    JOIN_CODES = "join_codes"
    FEED = "feed"
    PHOTOS = "photos"
    EXPORTS = "exports"

    @property
    def is_per_address(self) -> bool:
        """Whether a route that declares it counts network addresses, and not people."""
        return self in {Limit.SIGN_UP, Limit.MAILED_LINKS, Limit.TAKE_DOWNS}


_REASONS = {
    Limit.SIGN_UP: "Many accounts were made from your network.",
    Limit.SIGN_IN: "Too many wrong passwords for this account.",
    Limit.SIGN_IN_ADDRESS: "Too many wrong passwords from your network.",
    Limit.SIGN_IN_ACCOUNT: "Too many wrong passwords for this account.",
    Limit.REFRESH: "Many sessions were renewed from your network.",
    Limit.MAILED_LINKS: "Many links were asked for from your network.",
    Limit.MAILED_LINKS_ACCOUNT: "Several links were asked for this address already; "
    "look for the mail.",
    Limit.REPORTS: "You've made many reports today.",
    Limit.LIKES: "You've liked very many people today.",
    Limit.TAKE_DOWNS: "Many requests came from your network.",
    Limit.TAKE_DOWNS_ACCOUNT: "Several requests came with this address today already.",
    Limit.UPLOADS: "You've sent many photos.",
    Limit.SEARCHES: "You've searched many times today.",
    Limit.JOIN_CODES: "Many codes that don't work came from your network.",
    Limit.FEED: "You've opened your feed very often.",
    Limit.PHOTOS: "You've looked at very many photos.",
    Limit.EXPORTS: "You've downloaded your data several times today.",
}


class RateLimits:
    """Charges the limits."""

    def __init__(self, db: Database, settings: LimitSettings, key: str) -> None:
        """Charge through *db*; buckets are named by hashes that need the secret *key*."""
        self._db = db
        self._settings = settings
        self._successes: dict[bytes, None] = {}
        self._key = hashlib.sha256(b"rate limits " + key.encode()).digest()

    def charges(self, limit: Limit, who: str) -> list[Charge]:
        """Return the charges of one act of *who*: a person's id, or an address."""
        rates = parse_rates(getattr(self._settings, limit)) if self._settings.enabled else []
        return [
            Charge(self._hashed(f"{limit} {count}/{seconds} {who}"), count, seconds)
            for count, seconds in rates
        ]

    async def list_used(self, person_id: UUID) -> list[dict[str, str | float]]:
        """Return the limits of a person of which all is used up, and the seconds to wait."""
        used: list[dict[str, str | float]] = []
        async with self._db.connection() as conn:
            for limit in Limit:
                charges = self.charges(limit, str(person_id))
                wait_s = await rate_limits.get_wait(conn, charges) if charges else 0
                if wait_s > 0:
                    used.append({"limit": limit.value, "wait_s": round(wait_s)})
        return used

    async def charge(self, acts: Sequence[tuple[Limit, str]]) -> list[Charge]:
        """Count an act of each kind for whom it is named with; return what undoes that.

        Raises:
            RateLimitedError: one of them was done too often; none is counted.
        """
        by_limit = {limit: self.charges(limit, who) for limit, who in acts}
        charges = [each for found in by_limit.values() for each in found]
        if not charges:
            return []
        async with self._db.connection() as conn:
            wait_s = await rate_limits.charge(conn, charges)
            if wait_s > 0:
                waits = [await rate_limits.get_wait(conn, found) for found in by_limit.values()]
                limit = list(by_limit)[waits.index(max(waits))]
                raise RateLimitedError(
                    f"{_REASONS[limit]} Try again in {describe_wait(wait_s)}.",
                    retry_after_s=wait_s,
                    case=limit.value,
                )
        return charges

    @asynccontextmanager
    async def sign_in(self, account: str, address: str) -> AsyncIterator[None]:
        """Count the sign-in of the block when it fails with `CredentialsInvalidError`.

        It is charged before and given back after a success, so that many at once are not more. If
        the account signed in from this address lately, then what others do to the account, or from
        this network, does not count against it.

        Raises:
            RateLimitedError: there were too many wrong passwords.
        """
        if not self._settings.enabled:
            yield
            return
        acts = [(Limit.SIGN_IN, f"{account} {address}")]
        if not await self.knows(account, address):
            acts += [(Limit.SIGN_IN_ADDRESS, address), (Limit.SIGN_IN_ACCOUNT, account)]
        charged = await self.charge(acts)
        try:
            yield
        except CredentialsInvalidError:
            raise
        except AutomatchError:
            await self.refund(charged)
            raise
        await self.refund(charged)
        await self.remember_sign_in(account, address)

    async def remember_sign_in(self, account: str, address: str) -> None:
        """Remember for a while that an account was signed in to from an address."""
        if self._settings.enabled:
            success = self._success(account, address)
            with suppress(DatabaseUnavailableError):
                async with self._db.connection() as conn:
                    await rate_limits.charge(conn, [success])
            self._remember(success)

    def remembers(self, account: str, address: str) -> bool:
        """Return whether this server knows of a sign-in from this address."""
        return self._success(account, address).key in self._successes

    async def knows(self, account: str, address: str) -> bool:
        """Return whether an account was signed in to from this address within 30 days."""
        success = self._success(account, address)
        async with self._db.connection() as conn:
            is_known = await rate_limits.get_wait(conn, [success]) > 0
        if is_known:
            self._remember(success)
        return is_known

    def _success(self, account: str, address: str) -> Charge:
        # A bucket with one charge: as long as it is empty, there was a success.
        return Charge(self._hashed(f"signed in {account} {address}"), 1, _REMEMBERED_S)

    def _remember(self, success: Charge) -> None:
        self._successes[success.key] = None
        if len(self._successes) > _MAX_REMEMBERED:
            self._successes.pop(next(iter(self._successes)))

    async def refund(self, charges: Sequence[Charge]) -> None:
        """Undo charges of what the server itself could not do; without a database they stay."""
        if charges:
            with suppress(DatabaseUnavailableError):
                async with self._db.connection() as conn:
                    await rate_limits.refund(conn, charges)

    def _hashed(self, name: str) -> bytes:
        return hashlib.blake2b(name.encode(), key=self._key, digest_size=16).digest()


def describe_wait(seconds: float) -> str:
    """Return a wait in words, rounded up."""
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds > size:
            return f"{math.ceil(seconds / size)} {unit}s"
    count = max(math.ceil(seconds), 1)
    return f"{count} second{'s' if count > 1 else ''}"
