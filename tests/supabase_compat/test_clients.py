"""The clients that apps are built with: supabase for Python and JavaScript, and curl."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from PIL import ImageOps
from supabase import AsyncClient, AsyncClientOptions, acreate_client
from supabase_auth.errors import AuthApiError, AuthError, AuthWeakPasswordError
from supabase_functions.errors import FunctionsHttpError

from automatch.auth.tokens import Tokens
from automatch.model.people import Role
from automatch.settings.secrets import load_or_create
from automatch.settings.server import AuthSettings
from automatch.store.accounts.accounts import create_one_time_token, hash_token
from tests.support.clients import (
    CLIENTS,
    command_of,
    environment_of,
    node,
    printed,
    running,
    upload_by_curl,
)
from tests.support.command import call_command
from tests.support.phoenix import anon_key
from tests.support.photos import astronaut, encode
from tests.support.system import PASSWORD, Person, System
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

EMAIL = "linh@example.org"
FUNCTION = "/functions/v1/match-generator"


@asynccontextmanager
async def client_of(system: System, key: str | None = None) -> AsyncIterator[AsyncClient]:
    """Give a client as an app has it, and close what it opened."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        # Ten seconds for a channel are few on a busy machine.
        patience: Any = {"timeout": PATIENCE_S}
        options = AsyncClientOptions(auto_refresh_token=False, httpx_client=http, realtime=patience)
        client = await acreate_client(system.url, key or anon_key(system), options)
        try:
            yield client
        finally:
            await client.remove_all_channels()


@asynccontextmanager
async def subscribed(
    client: AsyncClient, person: Person, **more: Any
) -> AsyncIterator[asyncio.Queue[dict[str, Any]]]:
    """Sign a person in and give the new matches that the client tells."""
    await client.auth.sign_in_with_password({"email": person.email, "password": PASSWORD})
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    states: list[str] = []
    channel = client.channel("matches")
    channel.on_postgres_changes(
        "INSERT",
        schema="public",
        table="matches",
        callback=lambda change: told.put_nowait(change["data"]["record"]),
        **more,
    )
    await channel.subscribe(lambda status, error: states.append(status.value))
    assert states == ["SUBSCRIBED"]
    yield told


def photos_in(folder: Path) -> tuple[Path, Path]:
    """Write two photos of one face."""
    paths = folder / "hers.jpg", folder / "his.jpg"
    for path, image in zip(paths, (astronaut(), ImageOps.mirror(astronaut())), strict=True):
        path.write_bytes(encode(image))
    return paths


async def test_python_client_comes_back_without_the_password(server: System) -> None:
    person = await server.sign_up()
    token = "a token that was mailed"
    async with client_of(server) as client:
        await client.auth.reset_password_for_email(person.email)
        async with await psycopg.AsyncConnection.connect(server.database.owner) as conn:
            await create_one_time_token(
                conn,
                email=person.email,
                purpose="recovery",
                token_sha256=hash_token(token),
                life_s=600,
            )
        link = {"token_hash": token, "type": "recovery"}
        came_back = await client.auth.verify_otp(link)
        await client.auth.update_user({"password": "another horse, another battery"})
        with pytest.raises(AuthApiError) as used:
            await client.auth.verify_otp(link)

    assert came_back.user is not None
    assert came_back.user.id == person.id
    assert (used.value.code, used.value.status) == ("otp_expired", 403)


async def test_python_client_keeps_an_account(server: System) -> None:
    account = {"email": EMAIL, "password": PASSWORD}
    async with client_of(server) as client:
        new = await client.auth.sign_up({**account, "options": {"data": {"theme": "dark"}}})
        with pytest.raises(AuthApiError) as taken:
            await client.auth.sign_up(account)
        with pytest.raises(AuthWeakPasswordError):
            await client.auth.sign_up({"email": "minh@example.org", "password": "x"})
        with pytest.raises(AuthApiError) as wrong:
            await client.auth.sign_in_with_password(account | {"password": "wrong password"})
        again = await client.auth.sign_in_with_password(account)
        user = await client.auth.get_user()
        changed = await client.auth.update_user({"data": {"theme": "light"}})
        fresh = await client.auth.refresh_session()
        await client.auth.sign_out()
        assert fresh.session is not None
        with pytest.raises(AuthError) as ended:
            await client.auth.refresh_session(fresh.session.refresh_token)

    assert new.user is not None
    assert new.user.identities
    assert new.user.user_metadata == {"theme": "dark"}
    assert (taken.value.code, taken.value.status) == ("user_already_exists", 422)
    assert taken.value.message.startswith("There is an account")
    assert (wrong.value.code, wrong.value.status) == ("invalid_credentials", 400)
    assert again.user is not None
    assert user is not None
    assert again.user.id == user.user.id == new.user.id
    assert changed.user.user_metadata == {"theme": "light"}
    assert ended.value.code == "bad_jwt"


async def test_javascript_client_keeps_an_account(server: System) -> None:
    command = [node(), str(CLIENTS / "account.mjs")]

    steps = [json.loads(line) for line in await printed(command, environment_of(server, EMAIL))]

    told = {step.pop("step"): step for step in steps}
    errors = {step: of["error"]["code"] for step, of in told.items() if of["error"]}
    assert errors == {
        "sign up again": "user_already_exists",
        "weak": "weak_password",
        "wrong": "invalid_credentials",
        "refresh after": "bad_jwt",
    }
    assert told["sign up again"]["error"]["message"].startswith("There is an account")
    assert {step for step, of in told.items() if of["signedIn"]} == {
        *("sign up", "sign in", "refresh"),
    }
    # It renews the session in time, and keeps its channels, whatever its clock says.
    assert 0 < told["sign in"]["livesMs"] <= 1000 * server.settings.auth.access_token_s + 1000
    assert told["user"]["metadata"] == {"theme": "dark"}
    assert told["update"]["metadata"] == {"theme": "light"}
    assert told["user"]["user"] == told["sign up"]["user"] is not None


async def test_match_reaches_both_people_and_no_third(system: System, tmp_path: Path) -> None:
    her, him = await system.join("female"), await system.join("male")
    third = await system.join("male")
    hers, his = photos_in(tmp_path)
    async with AsyncExitStack() as stack:
        queues = []
        for person in (her, him, third):
            client = await stack.enter_async_context(client_of(system))
            queues.append(await stack.enter_async_context(subscribed(client, person)))

        first = json.loads(await upload_by_curl(system, her, hers))
        second = json.loads(await upload_by_curl(system, him, his))
        async with asyncio.timeout(PATIENCE_S):
            told = [await queue.get() for queue in queues[:2]]

        assert first["message"] == "Photo uploaded! Matches generating in background..."
        assert told[0] == told[1]
        faces = {told[0]["face_a_id"], told[0]["face_b_id"]}
        assert faces == {first["face"]["id"], second["face"]["id"]}
        assert await her.feed()
        # Two more of these reach him and the third; what would have come before has come.
        await third.matched(his.read_bytes())
        async with asyncio.timeout(PATIENCE_S):
            of_third = await queues[2].get()
        assert first["face"]["id"] in {of_third["face_a_id"], of_third["face_b_id"]}
        assert second["face"]["id"] not in {of_third["face_a_id"], of_third["face_b_id"]}


async def test_python_client_continues_with_a_refreshed_token(system: System) -> None:
    her, him = await system.join("female"), await system.join("male")
    await her.matched(encode(astronaut()))
    async with client_of(system) as client, subscribed(client, her) as told:
        await client.auth.refresh_session()
        # The old session has no right any more: what comes, comes by the new token.
        await him.matched(encode(ImageOps.mirror(astronaut())))

        async with asyncio.timeout(PATIENCE_S):
            match = await told.get()

    assert match["id"] == (await her.feed())[0]["id"]


async def test_python_client_gets_the_reason_why_it_may_not_subscribe(server: System) -> None:
    async with client_of(server) as client:
        states: list[tuple[str, str]] = []
        channel = client.channel("matches")
        channel.on_postgres_changes(
            "INSERT", schema="public", table="matches", callback=lambda _: None
        )
        await channel.subscribe(lambda status, error: states.append((status.value, str(error))))

    assert [status for status, _ in states][:1] == ["CHANNEL_ERROR"]
    assert "Sign in first" in states[0][1]


async def test_python_client_invokes_the_function_with_the_service_key(server: System) -> None:
    if FUNCTION not in (await server.client.get("/api/openapi.json")).json()["paths"]:
        pytest.skip("this server has no functions")
    tokens = Tokens(server.secrets.jwt_secret, server.settings.auth)
    what: Any = {"body": {"source": "manual_test"}, "responseType": "json"}
    async with client_of(server, tokens.issue_key(Role.SERVICE)) as client:
        told = await client.functions.invoke("match-generator", what)
    async with client_of(server) as client:
        with pytest.raises(FunctionsHttpError):
            await client.functions.invoke("match-generator", what)

    assert told["success"] is True
    assert told["message"] == "No pending jobs"


@pytest.mark.parametrize("language", ["python", "js"])
async def test_program_of_the_docs_shows_a_match(
    system: System, tmp_path: Path, language: str
) -> None:
    him = await system.join("male")
    _, his = photos_in(tmp_path)
    await upload_by_curl(system, him, his)
    command, env = command_of(language, tmp_path), environment_of(system, EMAIL)
    async with running(command, env) as program:
        assert await program.line() == "SUBSCRIBED"
        her = await system.sign_in(EMAIL)
        await system.fill_in(her, "female")
        await her.matched(encode(astronaut()))

        [match] = await her.feed()
        assert await program.line() == f"match {match['id']}"


def test_command_prints_what_clients_need(tmp_path: Path) -> None:
    home = tmp_path / "home"
    load_or_create(home)

    done = call_command(home, "token", "--env", PORT="8123")
    both = call_command(home, "token", "--env", "--role", "anon")
    any_port = call_command(home, "token", "--env", PORT="0")

    assert done.returncode == 0, done.stderr
    told = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert told["SUPABASE_URL"] == "http://127.0.0.1:8123"
    key = Tokens(load_or_create(home).jwt_secret, AuthSettings()).verify(told["SUPABASE_ANON_KEY"])
    assert key.role is Role.ANON
    assert both.returncode == any_port.returncode == 1
    assert "AUTOMATCH_PORT" in any_port.stderr
