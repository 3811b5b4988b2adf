"""The people of a benchmark: accounts without passwords, with a profile, a consent and a token."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import psycopg

from automatch.auth.tokens import Tokens
from automatch.model.people import Gender, User
from automatch.ops.bench.installation import SCHOOL
from automatch.postgres.addresses import database_address
from automatch.settings.secrets import secrets_of
from automatch.settings.server import AuthSettings
from automatch.settings.settings import Settings
from automatch.sql.statements import load

_SQL = load("bench")
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who uploads or watches."""

    id: str
    token: str


class People:
    """Makes people of one installation, some hundreds at a time."""

    def __init__(self, settings: Settings) -> None:
        secrets = secrets_of(settings)
        self._owner = database_address(settings, secrets, "owner")
        # Long enough for any benchmark.
        self._tokens = Tokens(secrets.jwt_secret, AuthSettings(access_token_s=86400))

    async def make(self, count: int, gender: Gender) -> list[Person]:
        """Make people who may upload at once."""
        async with await psycopg.AsyncConnection.connect(self._owner) as conn:
            cursor = await conn.execute(_SQL["add_accounts"], {"count": count})
            accounts = await cursor.fetchall()
            ids = [account for account, _ in accounts]
            await conn.execute(
                _SQL["fill_profiles"], {"ids": ids, "school": SCHOOL, "gender": gender.value}
            )
            await conn.execute(_SQL["consent"], {"ids": ids})
        return [
            Person(str(account), self._token(account, session)) for account, session in accounts
        ]

    async def wait_for_jobs(self, seconds: float) -> bool:
        """Return whether within so many seconds no job waits or runs."""
        async with await psycopg.AsyncConnection.connect(self._owner, autocommit=True) as conn:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while await (await conn.execute(_SQL["count_open_jobs"])).fetchone() != (0,):
                        await asyncio.sleep(_POLL_S)
                    return True
        return False

    def _token(self, account: UUID, session: UUID) -> str:
        now = datetime.now(UTC)
        user = User(account, f"{account}@bench.invalid", {}, {}, now, now, signed_in_at=now)
        return self._tokens.issue(user, session)
