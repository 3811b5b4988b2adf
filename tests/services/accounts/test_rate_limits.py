"""Rate limits hold for all servers together, and keep no address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from automatch.errors.auth import CredentialsInvalidError
from automatch.errors.request import PasswordsBusyError, RateLimitedError
from automatch.services.accounts.rate_limits import Limit, RateLimits, describe_wait
from automatch.settings.database import PoolSettings
from automatch.settings.limits import LimitSettings
from tests.support.kept_pools import KeptDatabase
from tests.support.postgres import Database

pytestmark = pytest.mark.anyio

ADDRESS = "192.0.2.7"


@pytest.fixture
async def servers(database: Database) -> AsyncIterator[list[RateLimits]]:
    settings = LimitSettings(sign_up="10/hour 30/day", uploads="3/day")
    async with (
        KeptDatabase(database.api, PoolSettings(), name="one") as one,
        KeptDatabase(database.api, PoolSettings(), name="two") as two,
    ):
        yield [RateLimits(pool, settings, "a secret") for pool in (one, two)]


async def _is_allowed(limits: RateLimits, limit: Limit, who: str = ADDRESS) -> bool:
    try:
        await limits.charge([(limit, who)])
    except RateLimitedError:
        return False
    return True


async def test_all_servers_count_together_and_each_person_for_themselves(
    servers: list[RateLimits],
) -> None:
    allowed = await asyncio.gather(
        *(_is_allowed(server, Limit.SIGN_UP) for server in servers for _ in range(20))
    )

    assert sum(allowed) == 10
    assert await _is_allowed(servers[0], Limit.SIGN_UP, "192.0.2.8")
    assert await _is_allowed(servers[0], Limit.UPLOADS)


async def test_refusal_says_what_there_was_too_much_of_and_how_long_to_wait(
    servers: list[RateLimits],
) -> None:
    acts = [(Limit.SEARCHES, ADDRESS), (Limit.UPLOADS, ADDRESS)]
    for _ in range(3):
        await servers[0].charge(acts)
    with pytest.raises(RateLimitedError) as refusal:
        await servers[1].charge(acts)

    assert refusal.value.message == "You've sent many photos. Try again in 8 hours."
    assert 28700 < refusal.value.retry_after_s <= 28800


async def test_address_is_kept_as_a_hash_that_needs_the_secret(
    servers: list[RateLimits], database: Database
) -> None:
    await servers[0].charge([(Limit.SIGN_UP, ADDRESS)])
    with psycopg.connect(database.owner) as conn:
        keys = [row[0] for row in conn.execute("select key from automatch.rate_limits")]
    other = RateLimits(servers[0]._db, LimitSettings(), "another secret")

    assert [len(key) for key in keys] == [16, 16]
    assert not {charge.key for charge in other.charges(Limit.SIGN_UP, ADDRESS)} & set(keys)


async def _try(limits: RateLimits, address: str, *, right: bool = False) -> str:
    try:
        is_known = await limits.knows("linh@example.org", address)
        async with limits.sign_in("linh@example.org", address):
            _check(right)
    except CredentialsInvalidError:
        return "wrong"
    except RateLimitedError as exc:
        return exc.message
    return "known" if is_known else "new"


def _check(right: bool) -> None:
    if not right:
        raise CredentialsInvalidError


async def test_others_cannot_lock_somebody_out_of_an_account(database: Database) -> None:
    settings = LimitSettings(sign_in="3/hour", sign_in_account="5/hour", sign_in_address="4/hour")
    async with KeptDatabase(database.api, PoolSettings(), name="test") as pool:
        limits = RateLimits(pool, settings, "a secret")
        assert [await _try(limits, "192.0.2.1", right=True) for _ in range(9)] == [
            "new",
            *["known"] * 8,
        ]
        attackers = [f"198.51.100.{number}" for number in (1, 1, 1, 1, 2, 2, 3)]
        told = [await _try(limits, address) for address in attackers]
        account_full = "Too many wrong passwords for this account. Try again in 12 minutes."
        own_full = "Too many wrong passwords for this account. Try again in 20 minutes."
        assert told == ["wrong"] * 3 + [own_full] + ["wrong"] * 2 + [account_full]

        assert await _try(limits, "192.0.2.1", right=True) == "known"
        # From where they never signed in it waits for them too.
        assert await _try(limits, "192.0.2.2", right=True) == account_full
        # And who knows the account's address has no more tries there.
        told = [await _try(limits, "192.0.2.1") for _ in range(4)]
        assert told == ["wrong"] * 3 + [own_full]


async def test_one_address_cannot_try_many_accounts(database: Database) -> None:
    settings = LimitSettings(sign_in_address="2/hour")
    async with KeptDatabase(database.api, PoolSettings(), name="test") as pool:
        limits = RateLimits(pool, settings, "a secret")
        for number in range(2):
            with pytest.raises(CredentialsInvalidError):
                async with limits.sign_in(f"person{number}@example.org", ADDRESS):
                    raise CredentialsInvalidError
        refused = await _try(limits, ADDRESS, right=True)

    assert refused == "Too many wrong passwords from your network. Try again in 30 minutes."


async def test_sign_in_that_the_server_could_not_do_does_not_count(database: Database) -> None:
    async with KeptDatabase(database.api, PoolSettings(), name="test") as pool:
        limits = RateLimits(pool, LimitSettings(sign_in="1/day"), "a secret")
        for _ in range(2):
            with pytest.raises(PasswordsBusyError):
                async with limits.sign_in("linh@example.org", ADDRESS):
                    raise PasswordsBusyError


def test_wait_is_told_in_words_and_never_too_short() -> None:
    waits = [0.2, 1, 59.5, 60.1, 3600, 3601]
    told = ["1 second", "1 second", "60 seconds", "2 minutes", "60 minutes", "2 hours"]
    assert [describe_wait(seconds) for seconds in waits] == told
