"""What a token, a stream and a channel still open after the session has ended: nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from automatch.app import create_app
from automatch.auth.photo_links import PhotoLinks
from automatch.auth.tokens import Tokens
from automatch.http.declaration import Access
from automatch.settings import Settings
from tests.http.routes.test_auth import age_refresh_tokens, refresh, sign_in
from tests.http.test_declaration import DeclaredRoute, routes_of
from tests.support.matches import add_matches, add_own_face
from tests.support.phoenix import Phone, phone
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.system import Event, Person, System, running_server
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

_BODIES: dict[str, dict[str, Any]] = {
    "PUT /api/profile": {
        "json": {"name": "x", "school": "UIT", "gender": "female", "birth_date": "2000-02-29"}
    },
    "PUT /api/profile/consent": {"json": {"version": "2026-11", "granted": True}},
    "PUT /api/profile/share": {"json": {"sentence": "x", "handle": "x"}},
    "PUT /api/profile/discoverable": {"json": {"discoverable": True}},
    "PUT /api/profile/membership/code": {"json": {"code": "x"}},
    "PUT /api/profile/membership/request": {"json": {"message": "x"}},
    "POST /api/reports": {"json": {"profile_id": str(UUID(int=0)), "reason": "fake"}},
    "POST /api/faces": {"files": {"file": ("photo.jpg", b"x")}},
    "PUT /auth/v1/user": {"json": {"data": {}}},
    "POST /api/jobs/0/face": {"json": {"index": 0}},
}


async def sign_out(server: System, person: Person, _: dict[str, Any]) -> None:
    answer = await server.client.post("/auth/v1/logout", headers=person.headers)
    assert answer.status_code == 204


async def change_password_elsewhere(server: System, person: Person, _: dict[str, Any]) -> None:
    other = (await sign_in(server, person.email)).json()
    answer = await server.client.put(
        "/auth/v1/user",
        headers={"authorization": f"Bearer {other['access_token']}"},
        json={"password": "another long password"},
    )
    assert answer.status_code == 200


async def use_refresh_token_again(server: System, _: Person, reply: dict[str, Any]) -> None:
    assert (await refresh(server, reply["refresh_token"])).status_code == 200
    age_refresh_tokens(server, seconds=60)
    assert (await refresh(server, reply["refresh_token"])).status_code == 401


async def erase_account(server: System, person: Person, _: dict[str, Any]) -> None:
    answer = await server.client.delete("/api/profile", headers=person.headers)
    assert answer.status_code == 204


@pytest.fixture
async def other_server(
    server: System, settings: Settings, cluster: TestCluster, database: Database
) -> AsyncIterator[System]:
    """Give a second server on the same database."""
    async with running_server(settings, cluster.secrets, database) as system:
        yield system


async def test_session_ends_on_every_server(
    server: System, other_server: System, subtests: pytest.Subtests
) -> None:
    for end in (sign_out, change_password_elsewhere, use_refresh_token_again, erase_account):
        with subtests.test(end.__name__):
            await check_that_session_ends(end, server, other_server)


async def check_that_session_ends(
    end: Callable[[System, Person, dict[str, Any]], Awaitable[None]],
    server: System,
    other_server: System,
) -> None:
    email = (await server.join()).email
    reply = (await sign_in(server, email)).json()
    there = Person(reply["user"]["id"], email, reply["access_token"], other_server.client)
    own = await add_own_face(server.database, there.id)
    viewer = Tokens(server.secrets.jwt_secret, server.settings.auth).verify(there.token)
    link = PhotoLinks(server.secrets.photo_key).sign(own, viewer)
    async with following(other_server, there) as (events, line):
        await end(server, there, reply)
        if end is not erase_account:
            # Nobody has waited for the end of the stream when a person matches.
            await add_matches(server.database, there.id, own)

        assert [event.kind async for event in events] == ["reauth"]
        assert [(await line.event())[0] for _ in range(2)] == ["system", "phx_close"]
        status, response = await line.join(there)
        assert (status, response["reason"]) == (
            "error",
            "The access token is not valid; sign in again.",
        )
    photo = encode(astronaut())
    answers = [
        await there.get("/api/matches"),
        await there.upload(photo),
        await there.client.put(
            "/api/profile", headers=there.headers, **_BODIES["PUT /api/profile"]
        ),
        await there.client.get("/api/matches/stream", headers=there.headers),
        await there.client.get(link),
    ]
    assert [(each.status_code, each.json()["error"]["code"]) for each in answers] == (
        [(401, "token_invalid")] * 5
    )


async def test_lost_notification_delays_the_end_of_a_stream_by_a_poll(server: System) -> None:
    her = await server.join()
    async with following(server, her) as (events, line):
        async with await psycopg.AsyncConnection.connect(server.database.owner) as conn:
            # Triggers do not fire then.
            await conn.execute("set session_replication_role = replica")
            await conn.execute("delete from auth.sessions")

        assert [event.kind async for event in events] == ["reauth"]
        assert (await line.event())[0] == "system"


async def test_no_route_of_a_person_answers_after_sign_out(
    server: System, settings: Settings, cluster: TestCluster, subtests: pytest.Subtests
) -> None:
    her = await server.join()
    await sign_out(server, her, {})
    for route in routes_of(create_app(settings, cluster.secrets)):
        if route.declaration.access not in {Access.PERSON, Access.PERSON_OR_LINK}:
            continue
        if route.path == "/auth/v1/logout":
            # To sign out twice is no error.
            continue
        with subtests.test(route.path, method=route.method):
            assert await answer_to(her, route) == (401, "token_invalid")


async def answer_to(person: Person, route: DeclaredRoute) -> tuple[int, str]:
    body = _BODIES.get(re.sub(r"[0-9a-f-]{36}", "0", f"{route.method} {route.path}"), {})
    answer = await person.client.request(route.method, route.path, headers=person.headers, **body)
    return answer.status_code, answer.json()["error"]["code"]


@asynccontextmanager
async def following(
    server: System, person: Person
) -> AsyncIterator[tuple[AsyncIterator[Event], Phone]]:
    """Open a stream and a channel of a person."""
    async with asyncio.timeout(PATIENCE_S), person.stream() as events, phone(server) as line:
        assert (await anext(events)).kind == "ready"
        await line.joined(person)
        yield events, line
