"""Access tokens that somebody else made, or that ours were turned into."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from uuid import uuid4

import pytest

from automatch.auth.tokens import Tokens
from automatch.model.people import Role
from automatch.settings.server import AuthSettings
from tests.support.raw_http import head, wire
from tests.support.system import Person, System

pytestmark = pytest.mark.anyio

_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(secret: str, claims: Any, *, signed_as: str = "HS256", **header: Any) -> str:
    """Return a token of any content, signed by hand."""
    parts = [{"alg": "HS256", "typ": "JWT"} | header, claims]
    signed = ".".join(
        base64url(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in parts
    )
    mark = hmac.digest(secret.encode(), signed.encode(), _HASHES[signed_as])
    return f"{signed}.{base64url(mark)}"


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return claims


async def answer_to(system: System, authorization: str) -> tuple[int, str]:
    answer = await system.client.get("/api/profile", headers={"authorization": authorization})
    reply = answer.json()
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
    return answer.status_code, reply["error"]["code"] if "error" in reply else "fine"


async def test_forged_tokens_are_refused(server: System, subtests: pytest.Subtests) -> None:
    person = await server.sign_up()
    secret = server.secrets.jwt_secret
    good = claims_of(person.token)
    now = int(time.time())
    without_mark = person.token.rpartition(".")[0]
    assert await answer_to(server, f"Bearer {forge(secret, good)}") == (200, "fine")

    attacks = {
        "no signature": without_mark,
        "empty signature": without_mark + ".",
        "another secret": forge("x" * 43, good),
        "empty secret": forge("", good),
        "alg none": _unsigned("none", good),
        "alg None": _unsigned("None", good),
        "alg nOnE with our signature": forge(secret, good, alg="nOnE"),
        "HS512 by its name": forge(secret, good, alg="HS512", signed_as="HS512"),
        "HS384 by its name": forge(secret, good, alg="HS384", signed_as="HS384"),
        "RS256 with our signature": forge(secret, good, alg="RS256"),
        "unknown critical header": forge(secret, good, crit=["x"], x=1),
        "payload not encoded": forge(secret, good, crit=["b64"], b64=False),
        "exp in words": forge(secret, good | {"exp": str(now + 900)}),
        "exp as a float": forge(secret, good | {"exp": now + 900.5}),
        "exp without end": forge(secret, good | {"exp": 1e308}),
        "exp true": forge(secret, good | {"exp": True}),
        "no exp": forge(secret, _without(good, "exp")),
        "no iat": forge(secret, _without(good, "iat")),
        "issued tomorrow": forge(secret, good | {"iat": now + 86400}),
        "good for a year": forge(secret, good | {"exp": now + 365 * 86400}),
        "key that is good for a century": forge(
            secret, _without(good, "sub") | {"role": "service_role", "exp": now + 100 * 365 * 86400}
        ),
        "not good before tomorrow": forge(secret, good | {"nbf": now + 86400}),
        "not good before a word": forge(secret, good | {"nbf": "now"}),
        "two subjects": forge(secret, _with_twice(good, "sub", str(uuid4()))),
        "two expiries": forge(secret, _with_twice(good, "exp", now + 60)),
        "two algorithms": _with_two_algorithms(secret, good),
        "deep claims": forge(secret, b"[" * 2900),
        "no sub": forge(secret, _without(good, "sub")),
        "sub is a number": forge(secret, good | {"sub": 1}),
        "sub is SQL": forge(secret, good | {"sub": "' or 1=1 --"}),
        "no session": forge(secret, _without(good, "session_id")),
        "session is no id": forge(secret, good | {"session_id": "1"}),
        "no aud": forge(secret, _without(good, "aud")),
        "aud of another service": forge(secret, good | {"aud": "other"}),
        "no iss": forge(secret, _without(good, "iss")),
        "iss that begins like ours": forge(secret, good | {"iss": "automatch/auth/v1/evil"}),
        "role postgres": forge(secret, good | {"role": "postgres"}),
        "role of a login": forge(secret, good | {"role": "automatch_worker"}),
        "several roles": forge(secret, good | {"role": ["authenticated"]}),
        "no role": forge(secret, _without(good, "role")),
        "service role by another secret": forge("x" * 43, good | {"role": "service_role"}),
        "claims are a list": forge(secret, [good]),
        "claims are no JSON": forge(secret, b"{"),
        "oversized": forge(secret, good | {"more": "x" * 9000}),
        "five parts": f"{person.token}.e30.e30",
        "deep header": base64url(b"[" * 5000) + ".e30.x",
        "a word": "null",
    }
    for name, token in attacks.items():
        with subtests.test(name):
            assert await answer_to(server, f"Bearer {token}") == (401, "token_invalid")


def _with_twice(claims: dict[str, Any], name: str, value: object) -> bytes:
    return f"{{{json.dumps(name)}: {json.dumps(value)}, {json.dumps(claims)[1:]}".encode()


def _with_two_algorithms(secret: str, claims: dict[str, Any]) -> str:
    signed = ".".join(
        [base64url(b'{"alg": "none", "alg": "HS256"}'), base64url(json.dumps(claims).encode())]
    )
    signature = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64url(signature)}"


async def test_every_bit_of_a_token_is_signed(server: System) -> None:
    person = await server.sign_up()
    secret = Tokens(server.secrets.jwt_secret, AuthSettings())
    refused = 0
    body, mark = person.token.rpartition(".")[0], person.token.rpartition(".")[2]
    for at in range(0, len(body), 7):
        changed = body[:at] + ("A" if body[at] != "A" else "B") + body[at + 1 :]
        with pytest.raises(Exception, match="not valid"):
            secret.verify(f"{changed}.{mark}")
        refused += 1

    assert refused > 50


async def test_token_is_good_until_the_leeway_has_passed(server: System) -> None:
    person = await server.sign_up()
    good = claims_of(person.token)
    now = int(time.time())

    late = forge(server.secrets.jwt_secret, good | {"exp": now - 10})
    too_late = forge(server.secrets.jwt_secret, good | {"exp": now - 40})

    assert await answer_to(server, f"Bearer {late}") == (200, "fine")
    assert await answer_to(server, f"Bearer {too_late}") == (401, "token_expired")


async def test_person_without_account_sees_nothing(server: System) -> None:
    person = await server.sign_up()
    ghost = forge(
        server.secrets.jwt_secret,
        claims_of(person.token) | {"sub": str(uuid4()), "session_id": str(uuid4())},
    )

    assert (await answer_to(server, f"Bearer {ghost}"))[0] == 401
    user = await server.client.get("/auth/v1/user", headers={"authorization": f"Bearer {ghost}"})
    assert user.status_code == 401


async def test_metadata_of_a_person_gives_no_right(server: System) -> None:
    answer = await server.client.post(
        "/auth/v1/signup",
        json={
            "email": "eve@example.org",
            "password": "correct horse battery",
            "data": {"role": "service_role", "is_super_admin": True},
        },
    )

    claims = claims_of(answer.json()["access_token"])
    assert claims["role"] == "authenticated"
    assert "role" not in claims["app_metadata"]


async def test_only_one_bearer_token_is_read(server: System, subtests: pytest.Subtests) -> None:
    person = await server.sign_up()
    for name, value, reply in [
        ("lower case", f"bearer {person.token}", (200, "fine")),
        ("upper case", f"BEARER {person.token}", (200, "fine")),
        ("nothing", "", (401, "token_missing")),
        ("a scheme alone", "Bearer", (401, "token_missing")),
        ("basic", "Basic bGluaDpzZWNyZXQ=", (401, "token_invalid")),
        ("no scheme", person.token, (401, "token_missing")),
        ("two in one header", f"Bearer {person.token}, Bearer x", (401, "token_invalid")),
    ]:
        with subtests.test(name):
            assert await answer_to(server, value) == reply
    for path in ("/api/profile", "/auth/v1/user"):
        with subtests.test("two headers", path=path):
            assert await _answer_to_two(server, person, path) == "token_invalid"
    with subtests.test("in the address"):
        answer = await server.client.get("/api/profile", params={"access_token": person.token})
        assert answer.status_code == 401
    with subtests.test("as a cookie"):
        answer = await server.client.get(
            "/api/profile", headers={"cookie": f"automatch_access={person.token}"}
        )
        assert answer.status_code == 401


async def test_other_secrets_of_a_person_are_no_access_token(server: System) -> None:
    reply = (
        await server.client.post(
            "/auth/v1/signup", json={"email": "a@example.org", "password": "correct horse battery"}
        )
    ).json()

    assert await answer_to(server, f"Bearer {reply['refresh_token']}") == (401, "token_invalid")
    assert await answer_to(server, f"Bearer {server.secrets.photo_key}") == (401, "token_invalid")


async def test_service_key_opens_no_page(server: System) -> None:
    key = Tokens(server.secrets.jwt_secret, AuthSettings()).issue_key(Role.SERVICE)

    answer = await server.client.get("/feed", headers={"cookie": f"automatch_access={key}"})

    assert answer.status_code == 403


def _unsigned(algorithm: str, claims: dict[str, Any]) -> str:
    parts = ({"alg": algorithm, "typ": "JWT"}, claims)
    return ".".join(base64url(json.dumps(part).encode()) for part in parts) + "."


def _without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


async def _answer_to_two(system: System, person: Person, path: str) -> str:
    async with wire(system) as connection:
        await connection.send(head("GET", path, "Authorization: Bearer x", token=person.token))
        return (await connection.answer()).code
