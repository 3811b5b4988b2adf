"""What a stranger, or a person with bad intentions, tries at the websocket."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from automatch.auth.tokens import Tokens
from automatch.model.people import Role
from automatch.supabase_compat.realtime import websocket
from tests.attack.test_tokens import claims_of, forge
from tests.support.matches import add_matches, add_own_face
from tests.support.phoenix import INSERTS, Phone, phone
from tests.support.system import PASSWORD, System
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


async def test_nobody_connects_without_a_key_of_ours(
    server: System, subtests: pytest.Subtests
) -> None:
    secret, now = server.secrets.jwt_secret, int(time.time())
    anon = {"iss": "automatch/auth/v1", "role": "anon", "iat": now, "exp": now + 60}
    async with phone(server, apikey=forge(secret, anon)) as line:
        assert await line.is_quiet()
    for name, query, status in [
        ("none", {"apikey": ""}, 401),
        ("nonsense", {"apikey": "x"}, 401),
        ("another project's", {"apikey": forge("0" * 64, anon)}, 401),
        ("expired", {"apikey": forge(secret, anon | {"exp": now - 90})}, 401),
        ("unsigned", {"apikey": forge(secret, anon, alg="none")}, 401),
        ("endless", {"apikey": "x" * 7000}, 401),
        ("unknown version", {"version": "3.0.0"}, 422),
    ]:
        with subtests.test(name):
            with pytest.raises(InvalidStatus) as refused:
                async with phone(server, **query):
                    pass
            answer = refused.value.response
            assert answer.status_code == status
            assert set(json.loads(answer.body or b"")["error"]) == {"code", "message"}


async def test_nobody_joins_without_the_token_of_a_person(
    server: System, subtests: pytest.Subtests
) -> None:
    her = await server.join()
    secret, good = server.secrets.jwt_secret, claims_of(her.token)
    tokens = Tokens(secret, server.settings.auth)
    now = int(time.time())
    for name, token in [
        ("none", None),
        ("public key", tokens.issue_key(Role.ANON)),
        ("service key", tokens.issue_key(Role.SERVICE)),
        ("nonsense", "x"),
        ("another's signature", forge("0" * 64, good)),
        ("unsigned", forge(secret, good, alg="none")),
        ("expired", forge(secret, good | {"exp": now - 90})),
        ("of tomorrow", forge(secret, good | {"iat": now + 86400})),
        ("role of a superuser", forge(secret, good | {"role": "postgres"})),
        ("endless", her.token + "x" * 9000),
    ]:
        with subtests.test(name):
            async with phone(server) as line:
                status, reply = await line.join(token)
                assert status == "error"
                assert "sign in" in reply["reason"].lower()


async def test_cookie_of_a_page_opens_no_channel(server: System) -> None:
    her = await server.join()
    form = {"email": her.email, "password": PASSWORD}
    answer = await server.client.post("/sign-in", data=form, headers={"origin": server.url})
    cookies = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())
    server.client.cookies.clear()
    assert cookies
    headers = {"cookie": cookies, "origin": "https://elsewhere.example"}
    async with phone(server, headers=headers) as line:
        assert (await line.join(None))[0] == "error"


async def test_topic_and_filter_give_no_right(server: System) -> None:
    her, other = await server.join(), await server.join()
    own = await add_own_face(server.database, her.id)
    async with phone(server) as line:
        await line.joined(
            other,
            {**INSERTS, "filter": f"face_a_id=eq.{own}"},
            {**INSERTS, "filter": f"face_b_id=eq.{own}"},
            INSERTS,
            topic=f"realtime:public:matches:{her.id}",
        )

        await add_matches(server.database, her.id, own, 3)

        assert await line.is_quiet()


_NOT_OFFERED: list[Any] = [
    {**INSERTS, "filter": "id=eq.' or 1=1 --"},
    {**INSERTS, "filter": "id=eq.x); drop table matches; --"},
    {**INSERTS, "filter": "1=1) or (id=eq.x"},
    {**INSERTS, "filter": "similarity=gt.0.5"},
    {**INSERTS, "filter": "profile_a_id=eq.00000000-0000-0000-0000-000000000000"},
    {**INSERTS, "filter": "number=gt.0"},
    {**INSERTS, "filter": "id=in.(" + ",".join(str(uuid4()) for _ in range(101)) + ")"},
    {**INSERTS, "filter": "created_at=gt." + "9" * 5000},
    {**INSERTS, "filter": ["id=eq.x"]},
    {**INSERTS, "select": ["similarity"]},
    {**INSERTS, "select": ["id", {"a": 1}]},
    {**INSERTS, "select": "id"},
    {**INSERTS, "schema": "auth", "table": "users"},
    {**INSERTS, "schema": "automatch"},
    {**INSERTS, "table": "faces"},
    {**INSERTS, "table": "*"},
    {**INSERTS, "table": ["matches"]},
    {**INSERTS, "event": "DELETE"},
    {**INSERTS, "event": "UPDATE"},
    {**INSERTS, "event": None},
    {"event": "INSERT", "schema": "public"},
    "matches",
]


async def test_what_is_not_offered_is_refused_with_a_reason(
    server: System, subtests: pytest.Subtests
) -> None:
    her = await server.join()
    for asked in _NOT_OFFERED:
        with subtests.test(str(asked)[:70]):
            async with phone(server) as line:
                status, reply = await line.join(her, asked)

                assert status == "error"
                assert reply["reason"].endswith(".")
                assert not set("'\"") & set(reply["reason"])
                assert await line.is_quiet()
                await line.joined(her)


async def test_channel_of_nothing_is_refused(server: System, subtests: pytest.Subtests) -> None:
    her = await server.join()
    nothing: list[Any] = [None, [], {}, {"postgres_changes": []}, {"postgres_changes": {}}]
    for config in nothing:
        payload = {"config": config, "access_token": her.token}
        with subtests.test(str(config)):
            async with phone(server) as line:
                status, reply = await line.ask("realtime:x", "phx_join", payload)

                assert (status, "postgres_changes" in reply["reason"]) == ("error", True)
                asked = {"config": {"postgres_changes": [INSERTS], "presence": {"enabled": True}}}
                presence = asked | {"access_token": her.token}
                assert (await line.ask("realtime:x", "phx_join", presence))[0] == "error"
                assert (await line.ask("phoenix", "phx_join", payload))[0] == "error"


async def test_broadcast_reaches_nobody(server: System) -> None:
    her, other = await server.join(), await server.join()
    async with phone(server) as hers, phone(server) as others:
        await hers.joined(her)
        await others.joined(other)
        broadcast = {"type": "broadcast", "event": "shout", "payload": {"a": 1}}

        for event in ("broadcast", "presence", "postgres_changes", "phx_close", "system"):
            assert (await hers.ask("realtime:x", event, broadcast))[0] == "error"

        assert await others.is_quiet()


_FORMS = [
    "",
    "{",
    "null",
    "5",
    "[]",
    "{}",
    "[" * 20_000,
    '{"a":' * 9_000,
    "NaN",
    json.dumps({"topic": "phoenix", "event": "heartbeat", "payload": [], "ref": "1"}),
    json.dumps({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": 1}),
    json.dumps({"topic": "x" * 256, "event": "heartbeat", "payload": {}, "ref": "1"}),
    json.dumps({"topic": "phoenix", "event": {}, "payload": {}, "ref": "1"}),
    json.dumps({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "1" * 65}),
    json.dumps([None, "1", "phoenix", "heartbeat", {}]),
]


async def test_what_is_no_message_closes_the_connection(
    server: System, subtests: pytest.Subtests
) -> None:
    for text in _FORMS:
        with subtests.test(text[:30]):
            async with phone(server) as line:
                await line.connection.send(text)

                code, reason = await line.closed()
                assert code == 1008
                assert reason.startswith("A message ")


async def test_bytes_and_giants_close_the_connection(server: System) -> None:
    async with phone(server) as line:
        await line.connection.send(b"\x03\x00")
        assert (await line.closed())[0] == 1003
    async with phone(server) as line:
        await line.connection.send("x" * 65_537)
        assert (await line.closed())[0] == 1009

    async def pieces() -> Any:
        for _ in range(100):
            yield "x" * 1000

    async with phone(server) as line:
        await line.connection.send(pieces())
        assert (await line.closed())[0] == 1009


async def test_flood_of_messages_closes_the_connection(server: System) -> None:
    async with phone(server) as line:
        for _ in range(400):
            await line.send("phoenix", "heartbeat")

        assert await line.closed() == (1008, "too many messages")


async def test_flood_of_joins_is_slowed_down(
    server: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if no time passed: on a busy machine it takes seconds, in each of which one may join.
    monkeypatch.setattr(websocket, "_JOINS", (websocket._JOINS[0], 0.0))
    her = await server.join()
    async with phone(server) as line:
        answers = [await line.join(her, {**INSERTS, "table": "x"}) for _ in range(40)]

        reasons = [reply["reason"].partition(":")[0] for _, reply in answers]
        assert reasons[:30].count("ClientJoinRateLimitReached") == 0
        assert reasons[30:] == ["ClientJoinRateLimitReached"] * 10
        assert await line.is_quiet()


async def test_reader_that_never_reads_is_given_up(
    server: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automatch.supabase_compat.realtime.websocket._SEND_WITHIN_S", 0.2)
    monkeypatch.setattr("automatch.supabase_compat.realtime.websocket._MESSAGES", (10**9, 1.0))
    monkeypatch.setattr("automatch.cli.runtime.serving.websocket_protocol._CLOSE_TIMEOUT_S", 0.2)
    monkeypatch.setattr("automatch.cli.runtime.serving.websocket_protocol._FRAMES", (10**9, 1.0))
    async with phone(server) as line:
        # What the server answers piles up there. Its handler ends; then what it has not sent could
        # still keep the connection, were it not cut off.
        line.connection.transport.pause_reading()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(ConnectionClosedError):
                await _send_for_ever(line)


async def test_plain_request_gets_an_error_in_the_one_shape(server: System) -> None:
    answer = await server.client.get("/realtime/v1/websocket", params={"apikey": "x"})

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


async def _send_for_ever(line: Phone) -> None:
    while True:
        await line.send("x" * 255, "y" * 64)
