"""Signing up, in and out over HTTP, in the form that supabase clients speak."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from automatch.services.validators import normalize_email
from tests.support.system import PASSWORD, System

pytestmark = pytest.mark.anyio

SIGN_UP = "/auth/v1/signup"
TOKEN = "/auth/v1/token"
_JSON = {"content-type": "application/json"}


async def sign_up(system: System, email: Any, password: Any = PASSWORD, **more: Any) -> Any:
    return await system.client.post(SIGN_UP, json={"email": email, "password": password, **more})


async def sign_in(system: System, email: str, password: str = PASSWORD) -> httpx2.Response:
    return await system.client.post(
        TOKEN, params={"grant_type": "password"}, json={"email": email, "password": password}
    )


async def refresh(system: System, token: str) -> httpx2.Response:
    return await system.client.post(
        TOKEN, params={"grant_type": "refresh_token"}, json={"refresh_token": token}
    )


def age_refresh_tokens(system: System, seconds: int) -> None:
    """Make every use of a refresh token lie further back."""
    with psycopg.connect(system.database.owner) as conn:
        conn.execute(
            "update auth.refresh_tokens set used_at = used_at - make_interval(secs => %s)",
            [seconds],
        )


async def test_session_has_the_form_of_supabase(server: System) -> None:
    answer = await sign_up(server, " Linh@Example.org ", data={"theme": "dark"})

    reply = answer.json()
    assert answer.status_code == 200
    assert set(reply) == {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "user",
    }
    assert reply["token_type"] == "bearer"
    assert reply["user"]["email"] == "linh@example.org"
    assert reply["user"]["aud"] == reply["user"]["role"] == "authenticated"
    assert reply["user"]["user_metadata"] == {"theme": "dark"}
    assert answer.headers["cache-control"] == "no-store"


async def test_access_token_has_the_claims_of_supabase(server: System) -> None:
    reply = (await sign_up(server, "linh@example.org")).json()

    key = OctKey.import_key(server.secrets.jwt_secret)
    decoded = jwt.decode(reply["access_token"], key, algorithms=["HS256"])
    claims = decoded.claims
    assert decoded.header["alg"] == "HS256"
    assert claims["iss"] == "automatch/auth/v1"
    assert claims["sub"] == reply["user"]["id"]
    assert claims["aud"] == claims["role"] == "authenticated"
    assert UUID(claims["session_id"])
    assert claims["exp"] - claims["iat"] == reply["expires_in"]
    assert claims["email"] == "linh@example.org"
    assert claims["is_anonymous"] is False


async def test_sign_in_gives_a_new_session_of_the_same_person(server: System) -> None:
    first = (await sign_up(server, "linh@example.org")).json()

    second = (await sign_in(server, "LINH@example.ORG ")).json()

    assert second["user"]["id"] == first["user"]["id"]
    assert second["refresh_token"] != first["refresh_token"]


async def test_address_outside_ascii_signs_in_as_it_was_typed(server: System) -> None:
    await sign_up(server, "İlker@example.org")

    assert (await sign_in(server, "İlker@example.org")).status_code == 200


async def test_wrong_password_and_unknown_address_answer_alike(server: System) -> None:
    await sign_up(server, "linh@example.org")

    wrong = await sign_in(server, "linh@example.org", "not the password")
    unknown = await sign_in(server, "nobody@example.org", "not the password")
    too_long = await sign_in(server, "linh@example.org", "x" * 5000)
    no_address = await sign_in(server, "linh")

    assert wrong.status_code == 400
    assert wrong.json()["error"]["code"] == "credentials_invalid"
    assert wrong.content == unknown.content == too_long.content == no_address.content


async def test_address_is_taken_once_in_any_spelling_and_at_once(server: System) -> None:
    answers = await asyncio.gather(
        *(sign_up(server, email) for email in ["a@x.org", "A@x.org", " a@X.org", "a@x.ORG"])
    )

    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422]
    taken = next(answer for answer in answers if answer.status_code == 422)
    assert taken.json()["error"]["code"] == "email_taken"


@pytest.mark.parametrize(
    "email",
    [
        "",
        "linh",
        "@example.org",
        "linh@",
        "linh@example",
        "linh@example..org",
        "li nh@example.org",
        "linh@exa\nmple.org",
        "a@b@example.org",
        "x" * 65 + "@example.org",
        "linh@" + "x" * 250 + ".org",
        "linh\u202e@example.org",
        "linh@xn--a.example",
        # These name another mailbox, or none, to whoever parses them.
        "linh@[.com",
        "linh@victim.example;",
        "linh@victim.example(1",
        "1,linh@victim.example",
        "a<linh@victim.example",
        '"linh"@example.org',
        ".linh@example.org",
        "=?utf-8?q?=ff?=@example.org",
        "linh@-example.org",
        "linh@exa_mple.org",
    ],
)
def test_what_is_no_address_is_refused(email: str) -> None:
    assert normalize_email(email) is None


@pytest.mark.parametrize(
    "email",
    [
        "lính@bücher.example",
        unicodedata.normalize("NFD", "lính@bücher.example"),
        "LÍNH@xn--bcher-kva.EXAMPLE",
    ],
)
def test_spellings_of_one_address_are_one(email: str) -> None:
    assert normalize_email(email) == "lính@bücher.example"


async def test_bad_sign_ups_are_refused_with_a_reason(
    server: System, subtests: pytest.Subtests
) -> None:
    good: dict[str, Any] = {"email": "linh@example.org", "password": PASSWORD}
    for name, change, code in [
        ("no address", {"email": "linh"}, "input_invalid"),
        ("address with NUL", {"email": "linh\0@example.org"}, "input_invalid"),
        ("address that is a number", {"email": 5}, "input_invalid"),
        ("short password", {"password": "1234567"}, "password_weak"),
        ("endless password", {"password": "x" * 201}, "password_weak"),
        ("common password", {"password": "Sunshine1!"}, "password_common"),
        ("own address", {"password": "linh@example.org"}, "password_common"),
        ("password with half a character", {"password": "\ud800aaaaaaaaa"}, "input_invalid"),
        ("much data", {"data": {"a": "x" * 2000}}, "input_invalid"),
        ("data with NUL", {"data": {"a": "\0"}}, "input_invalid"),
        ("data with half a character", {"data": {"a": "\ud800"}}, "input_invalid"),
        ("deep data", {"data": {"a": _nested(600)}}, "input_invalid"),
        ("data that is no object", {"data": [1]}, "input_invalid"),
    ]:
        with subtests.test(name):
            # By hand, because half a character has no form in UTF-8.
            reply = json.dumps(good | change)
            answer = await server.client.post(SIGN_UP, content=reply, headers=_JSON)
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)


async def test_strange_strings_in_a_sign_in_are_no_server_error(
    server: System, subtests: pytest.Subtests
) -> None:
    for grant in ("password", "refresh_token"):
        for text in ("\0", "\ud800", "'; drop table auth.users; --", "\u202e" * 100, ""):
            with subtests.test(grant, text=ascii(text)):
                reply = json.dumps({"email": text, "password": text, "refresh_token": text})
                answer = await server.client.post(
                    TOKEN, params={"grant_type": grant}, content=reply, headers=_JSON
                )
                assert answer.status_code in {400, 401, 422}
    assert (await server.client.post(TOKEN, params={"grant_type": "x"}, json={})).status_code == 422
    assert (await server.client.post(TOKEN, json={})).status_code == 422


async def test_refresh_gives_a_new_pair_of_the_same_session(server: System) -> None:
    first = (await sign_up(server, "linh@example.org")).json()

    second = (await refresh(server, first["refresh_token"])).json()

    assert second["refresh_token"] != first["refresh_token"]
    assert _session(server, second) == _session(server, first)


async def test_parallel_tabs_may_use_one_refresh_token(server: System) -> None:
    first = (await sign_up(server, "linh@example.org")).json()

    answers = await asyncio.gather(*(refresh(server, first["refresh_token"]) for _ in range(5)))

    assert [answer.status_code for answer in answers] == [200] * 5
    tokens = {answer.json()["refresh_token"] for answer in answers}
    assert len(tokens) == 5
    for token in tokens:
        assert (await refresh(server, token)).status_code == 200


async def test_refresh_token_used_again_later_ends_the_session(server: System) -> None:
    stolen = (await sign_up(server, "linh@example.org")).json()["refresh_token"]
    kept = (await refresh(server, stolen)).json()
    age_refresh_tokens(server, seconds=60)

    again = await refresh(server, stolen)

    assert (again.status_code, again.json()["error"]["code"]) == (401, "token_invalid")
    assert (await refresh(server, kept["refresh_token"])).status_code == 401
    assert (await _user(server, kept["access_token"])).status_code == 401


async def test_token_that_was_copied_within_the_seconds_for_tabs_ends_the_session(
    server: System,
) -> None:
    first = (await sign_up(server, "linh@example.org")).json()["refresh_token"]
    hers = (await refresh(server, first)).json()["refresh_token"]
    copied = (await refresh(server, first)).json()["refresh_token"]
    goes_on = (await refresh(server, hers)).json()["refresh_token"]
    age_refresh_tokens(server, seconds=60)

    assert (await refresh(server, copied)).status_code == 401
    assert (await refresh(server, goes_on)).status_code == 401


async def test_signed_out_session_cannot_refresh_and_another_goes_on(server: System) -> None:
    gone = (await sign_up(server, "linh@example.org")).json()
    other = (await sign_in(server, "linh@example.org")).json()

    answer = await server.client.post(
        "/auth/v1/logout", headers={"authorization": f"Bearer {gone['access_token']}"}
    )

    assert answer.status_code == 204
    assert (await refresh(server, gone["refresh_token"])).status_code == 401
    assert (await _user(server, gone["access_token"])).status_code == 401
    assert (await refresh(server, other["refresh_token"])).status_code == 200
    assert (await _user(server, other["access_token"])).json()["id"] == other["user"]["id"]


@pytest.mark.parametrize(
    ("scope", "left"), [("local", "other"), ("others", "mine"), ("global", None)]
)
async def test_scope_says_which_sessions_end(server: System, scope: str, left: str | None) -> None:
    reply = {
        "mine": (await sign_up(server, "linh@example.org")).json(),
        "other": (await sign_in(server, "linh@example.org")).json(),
        "stranger": (await sign_up(server, "minh@example.org")).json(),
    }

    answer = await server.client.post(
        "/auth/v1/logout",
        params={"scope": scope},
        headers={"authorization": f"Bearer {reply['mine']['access_token']}"},
    )

    assert answer.status_code == 204
    alive = {
        name
        for name, session in reply.items()
        if (await _user(server, session["access_token"])).status_code == 200
    }
    assert alive == {"stranger", left} - {None}


async def test_new_password_signs_out_everywhere_else(server: System) -> None:
    mine = (await sign_up(server, "linh@example.org")).json()
    other = (await sign_in(server, "linh@example.org")).json()

    answer = await _change(server, mine["access_token"], password="another long password")

    assert answer.status_code == 200
    assert answer.json()["id"] == mine["user"]["id"]
    assert (await _user(server, mine["access_token"])).status_code == 200
    assert (await refresh(server, other["refresh_token"])).status_code == 401
    assert (await sign_in(server, "linh@example.org")).status_code == 400
    again = await sign_in(server, "linh@example.org", "another long password")
    assert again.status_code == 200


async def test_password_changes_after_a_fresh_sign_in_or_with_the_current_one(
    server: System,
) -> None:
    token = (await sign_up(server, "linh@example.org")).json()["access_token"]
    with psycopg.connect(server.database.owner) as conn:
        conn.execute("update auth.sessions set created_at = created_at - interval '1 hour'")

    stale = await _change(server, token, password="another long password")
    wrong = await _change(
        server, token, password="another long password", current_password="not the password"
    )
    data = await _change(server, token, data={"theme": "dark"})
    right = await _change(
        server, token, password="another long password", current_password=PASSWORD
    )

    assert (stale.status_code, stale.json()["error_code"]) == (400, "reauthentication_needed")
    assert (wrong.status_code, wrong.json()["error_code"]) == (400, "invalid_credentials")
    assert (data.status_code, right.status_code) == (200, 200)
    reply = (await sign_in(server, "linh@example.org", "another long password")).json()
    again = (await refresh(server, reply["refresh_token"])).json()
    claims = [_claims(server, each)["amr"] for each in (reply, again)]
    assert claims[0] == claims[1]


async def test_metadata_is_merged_and_stays_within_bounds(server: System) -> None:
    reply = (await sign_up(server, "linh@example.org", data={"theme": "dark", "a": 1})).json()

    changed = await _change(server, reply["access_token"], data={"theme": "light"})
    too_much = await _change(server, reply["access_token"], data={"b": "x" * 1020})

    assert changed.json()["user_metadata"] == {"theme": "light", "a": 1}
    assert too_much.status_code == 422
    now = await _user(server, reply["access_token"])
    assert now.json()["user_metadata"] == {"theme": "light", "a": 1}


async def test_nothing_else_of_an_account_can_be_changed(server: System) -> None:
    reply = (await sign_up(server, "linh@example.org")).json()
    token = reply["access_token"]

    weak = await _change(server, token, password="short")
    both = await _change(server, token, email="minh@example.org", data={"a": 1})
    phone = await _change(server, token, phone="123")
    await server.client.post("/auth/v1/logout", headers={"authorization": f"Bearer {token}"})
    ended = await _change(server, token, password="another long password")
    nobody = await server.client.put("/auth/v1/user", json={"password": 5})

    assert (weak.status_code, weak.json()["error_code"]) == (422, "weak_password")
    for refused in (both, phone):
        assert (refused.status_code, refused.json()["error_code"]) == (422, "validation_failed")
    assert (ended.status_code, ended.json()["error_code"]) == (401, "bad_jwt")
    assert (nobody.status_code, nobody.json()["error_code"]) == (401, "no_authorization")
    assert (await sign_in(server, "linh@example.org")).status_code == 200


async def test_erased_person_is_gone_with_their_session(server: System) -> None:
    reply = (await sign_up(server, "linh@example.org")).json()
    headers = {"authorization": f"Bearer {reply['access_token']}"}

    assert (await server.client.delete("/api/profile", headers=headers)).status_code == 204

    again = await server.client.get("/api/profile", headers=headers)
    assert again.status_code == 401
    assert (await refresh(server, reply["refresh_token"])).status_code == 401
    assert (await sign_in(server, "linh@example.org")).status_code == 400
    assert (await sign_up(server, "linh@example.org")).status_code == 200


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _session(system: System, reply: dict[str, Any]) -> str:
    return str(_claims(system, reply)["session_id"])


def _claims(system: System, reply: dict[str, Any]) -> dict[str, Any]:
    key = OctKey.import_key(system.secrets.jwt_secret)
    return jwt.decode(reply["access_token"], key, algorithms=["HS256"]).claims


async def _user(system: System, token: str) -> httpx2.Response:
    return await system.client.get("/auth/v1/user", headers={"authorization": f"Bearer {token}"})


async def _change(system: System, token: str, **what: Any) -> httpx2.Response:
    return await system.client.put(
        "/auth/v1/user", json=what, headers={"authorization": f"Bearer {token}"}
    )
