"""How people show that they belong to the school of their profile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from automatch.errors import AutomatchError
from automatch.errors.request import CodeInvalidError, ProfileIncompleteError
from automatch.model.people import Claims
from automatch.model.schools import Membership
from automatch.services.accounts.rate_limits import Limit, RateLimits
from automatch.store.database import Connection, Database
from automatch.store.people import schools

_MAX_CODE = 64


class Memberships:
    """Lets people into their school: by a code, or by asking an operator."""

    def __init__(self, db: Database, rate_limits: RateLimits) -> None:
        self._db = db
        self._rate_limits = rate_limits

    async def load(self, claims: Claims) -> Membership:
        """Return how far somebody is with their school.

        Raises:
            ProfileIncompleteError: they have not chosen one.
        """
        async with self._db.as_user(claims) as conn:
            return await _load(conn)

    async def find_school(self, code: str, *, address: str) -> str:
        """Return the school that a code is for, without using the code up.

        Raises:
            CodeInvalidError: it does not work.
            RateLimitedError: too many codes from this address did not work.
        """
        async with self._counting_wrong_codes(address), self._db.connection() as conn:
            school = await schools.find_invitation(conn, code[:_MAX_CODE])
            if school is None:
                raise CodeInvalidError(
                    "This code does not work. It may be used up or out of date.", case="any_school"
                )
            return school

    async def join(self, claims: Claims, code: str, *, address: str) -> Membership:
        """Make somebody a member of their school by a code, and return that.

        Raises:
            CodeInvalidError: it is not one for their school.
            RateLimitedError: too many codes from this address did not work.
        """
        async with self._counting_wrong_codes(address), self._db.as_user(claims) as conn:
            await schools.join(conn, code[:_MAX_CODE])
            return await _load(conn)

    async def ask(self, claims: Claims, message: str) -> Membership:
        """Ask an operator to make somebody a member, with a sentence of theirs.

        Raises:
            ProfileIncompleteError: they have not chosen a school.
        """
        async with self._db.as_user(claims) as conn:
            await schools.request_membership(conn, message)
            return await _load(conn)

    async def leave(self, claims: Claims) -> None:
        """Take somebody out of their school; photos stay, and nobody finds them."""
        async with self._db.as_user(claims) as conn:
            await schools.leave(conn)

    @asynccontextmanager
    async def _counting_wrong_codes(self, address: str) -> AsyncIterator[None]:
        charged = await self._rate_limits.charge([(Limit.JOIN_CODES, address)])
        try:
            yield
        except CodeInvalidError:
            raise
        except AutomatchError:
            await self._rate_limits.refund(charged)
            raise
        await self._rate_limits.refund(charged)


async def _load(conn: Connection) -> Membership:
    membership = await schools.load_membership(conn)
    if membership is None:
        raise ProfileIncompleteError("Choose your school first.")
    return membership
