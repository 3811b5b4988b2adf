"""The keys of an issuer: fetched when needed and no more often, changed with it, and given up."""

from __future__ import annotations

import asyncio
import json

import pytest
from joserfc.errors import SecurityWarning

from automatch.auth.issuer import Issuer
from automatch.auth.jwks import JwksCache
from automatch.auth.tokens import Tokens
from automatch.errors.auth import IssuerUnavailableError, TokenInvalidError
from automatch.settings.server import AuthSettings
from tests.support.issuer import IssuerServer, ec_key, rsa_key

pytestmark = pytest.mark.anyio


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Reader:
    """What a server does with the tokens of an issuer."""

    def __init__(self, issuer: IssuerServer) -> None:
        self.clock = Clock()
        self.keys = JwksCache(issuer.keys_url, clock=self.clock)
        self.tokens = Tokens(
            "k" * 43,
            AuthSettings(),
            issuer=Issuer(issuer.issuer, keys=self.keys, shared_secret=None, leeway_s=30),
        )

    async def reads(self, token: str) -> bool:
        try:
            await self.tokens.identify(token)
        except TokenInvalidError:
            return False
        return True


@pytest.fixture
def reader(issuer: IssuerServer) -> Reader:
    """Give somebody who has not asked the issuer yet."""
    return Reader(issuer)


@pytest.mark.parametrize("make", [ec_key, rsa_key], ids=["ES256", "RS256"])
async def test_tokens_of_both_kinds_of_keys_are_read(issuer, reader, make) -> None:
    issuer.keys = [make("only")]

    assert await reader.reads(issuer.sign())


async def test_keys_are_asked_for_once_by_many_requests(issuer, reader) -> None:
    token = issuer.sign()

    assert all(await asyncio.gather(*(reader.reads(token) for _ in range(20))))
    assert issuer.asked == 1


async def test_new_key_is_found_at_its_first_token_and_old_one_goes_with_its_publication(
    issuer, reader
) -> None:
    old = issuer.keys[0]
    before = issuer.sign()
    assert await reader.reads(before)
    reader.clock.now += 60
    issuer.keys.append(ec_key("second"))

    assert await reader.reads(issuer.sign())
    assert await reader.reads(before)
    reader.clock.now += 60
    issuer.keys = [ec_key("third")]
    assert await reader.reads(issuer.sign())

    assert not await reader.reads(before)
    assert not await reader.reads(issuer.sign(key=old))
    assert issuer.asked == 3


async def test_unknown_keys_do_not_make_us_ask_again_and_again(issuer, reader) -> None:
    assert await reader.reads(issuer.sign())
    strangers = [issuer.sign(key=ec_key(f"stranger {n}")) for n in range(50)]
    reader.clock.now += 60

    read = await asyncio.gather(*(reader.reads(token) for token in strangers))

    assert not any(read)
    assert issuer.asked == 2
    # Whoever has a known key does not wait for any of that.
    assert await reader.reads(issuer.sign())
    assert issuer.asked == 2


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"status": 302},
        {"body": b"<html>"},
        {"body": b"[]"},
        {"body": b'{"keys": 5}'},
        {"body": b'{"keys": [' + b" " * 70_000 + b"]}"},
        {"body": b"[" * 60_000},
    ],
    ids=lambda trouble: str(trouble)[:30],
)
async def test_last_keys_hold_for_hours_when_no_new_ones_come(issuer, reader, trouble) -> None:
    token = issuer.sign()
    assert await reader.reads(token)
    for name, value in trouble.items():
        setattr(issuer, name, value)

    reader.clock.now += 3 * 3600
    assert not await reader.reads(issuer.sign(key=ec_key("makes it ask")))
    assert issuer.asked >= 2
    assert await reader.reads(token)
    reader.clock.now += 2 * 3600
    with pytest.raises(IssuerUnavailableError):
        await reader.reads(token)

    issuer.status, issuer.body = 200, None
    reader.clock.now += 60
    assert await reader.reads(token)


async def test_token_is_not_called_false_when_the_issuer_cannot_be_asked(issuer, reader) -> None:
    token = issuer.sign()
    issuer.stop()

    with pytest.raises(IssuerUnavailableError):
        await reader.reads(token)


async def test_key_that_is_no_use_does_not_hide_the_others(issuer, reader) -> None:
    good = ec_key("good")
    public = good.as_dict(private=False)
    with pytest.warns(SecurityWarning):
        weak = rsa_key("weak", 1024)
    others = [
        None,
        {},
        {"kty": "oct", "kid": "shared", "k": "a2V5" * 11, "alg": "HS256"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "short", "x": "AA"},
        {"kty": "EC", "crv": "P-256", "kid": "off the curve", "x": "AQ", "y": "AQ"},
        {"kty": "RSA", "kid": "empty", "n": "", "e": "AQAB"},
        weak.as_dict(private=False),
        public | {"kid": "for encryption", "use": "enc"},
        public | {"kid": "of another algorithm", "alg": "ES384"},
        public | {"kid": 5},
    ]
    issuer.body = json.dumps({"keys": [*others, public]}).encode()

    assert await reader.reads(issuer.sign(key=good))
    assert not await reader.reads(issuer.sign(key=weak))
    for kid in ("for encryption", "of another algorithm"):
        renamed = type(good).import_key(good.as_dict(private=True) | {"kid": kid})
        assert not await reader.reads(issuer.sign(key=renamed))


async def test_keys_are_kept_fresh_without_any_request(issuer, reader) -> None:
    running = asyncio.create_task(reader.keys.run())
    await reader.keys.look_up("first")

    assert reader.keys.find("first") is not None
    assert issuer.asked == 1
    running.cancel()
