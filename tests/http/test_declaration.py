"""What every route must declare, and that the middleware holds all of them to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message

from automatch.app import create_ai_app, create_app
from automatch.auth.tokens import Tokens
from automatch.http.declaration import (
    Access,
    Declaration,
    declaration_of,
    photo_batch_body,
    photo_body,
)
from automatch.model.people import Role, User
from automatch.settings import Settings
from tests.http.test_errors import check
from tests.support.postgres import TestCluster
from tests.support.raw_http import Answer

pytestmark = pytest.mark.anyio

_PERSON = {Access.PERSON, Access.PERSON_OR_LINK}
_KEY = {Access.SERVICE_KEY, Access.FUNCTION_KEY, Access.AI_KEY}


@dataclass(frozen=True)
class DeclaredRoute:
    """One method of an address, and what it declares."""

    method: str
    path: str
    declaration: Declaration


def routes_of(app: FastAPI) -> list[DeclaredRoute]:
    """Return every route that takes requests, with ids of nothing in its path."""
    return [
        DeclaredRoute(method, re.sub(r"{[\w:]+}", str(uuid4()), route.path), declaration)
        for route in (context.original_route for context in iter_route_contexts(app.routes))
        if isinstance(route, Route) and (declaration := declaration_of(route)) is not None
        for method in sorted(route.methods or ())
    ]


@pytest.fixture
def app(settings: Settings, cluster: TestCluster) -> FastAPI:
    """Give the whole server, which is not running."""
    return create_app(settings, cluster.secrets)


def person_token_of(tokens: Tokens) -> str:
    """Return the token of a person; their account is looked for by nobody here."""
    user = User(uuid4(), "linh@example.org", {}, {}, datetime.now(UTC), None)
    return tokens.issue(user, uuid4())


def dependencies_of(dependant: Dependant) -> Iterator[Dependant]:
    for each in dependant.dependencies:
        yield each
        yield from dependencies_of(each)


def test_nothing_that_a_handler_is_given_waits_for_a_thread(app: FastAPI) -> None:
    given = {
        each.call
        for route in (context.original_route for context in iter_route_contexts(app.routes))
        if isinstance(route, APIRoute)
        for each in dependencies_of(route.dependant)
    }

    assert given
    assert [call for call in given if not iscoroutinefunction(call)] == []


def test_a_start_builds_no_route_again(
    app: FastAPI, settings: Settings, cluster: TestCluster
) -> None:
    again = create_app(settings, cluster.secrets)

    described, same = (
        [route for route in each.routes if getattr(route, "include_in_schema", False)]
        for each in (app, again)
    )
    assert len(described) > 40
    assert all(one is other for one, other in zip(described, same, strict=True))


def test_every_route_declares_who_may_call_it(
    app: FastAPI, settings: Settings, cluster: TestCluster
) -> None:
    for server in (app, create_ai_app(settings, cluster.secrets)):
        routes = [context.original_route for context in iter_route_contexts(server.routes)]

        assert routes
        assert [route for route in routes if declaration_of(route) is None] == []


async def test_route_that_declares_nothing_is_refused(app: FastAPI) -> None:
    app.router.routes.insert(0, Route("/api/new", lambda _: PlainTextResponse("open")))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
        check(await client.get("/api/new"), 403, "forbidden")


async def test_strangers_are_refused_before_a_byte_of_the_body_is_read(
    app: FastAPI, settings: Settings, cluster: TestCluster, subtests: pytest.Subtests
) -> None:
    tokens = Tokens(cluster.secrets.jwt_secret, settings.auth)
    person_token = person_token_of(tokens)
    service_key, anon_key = tokens.issue_key(Role.SERVICE), tokens.issue_key(Role.ANON)
    for route in routes_of(app):
        if route.declaration.access not in _PERSON | _KEY:
            continue
        other = service_key if route.declaration.access in _PERSON else person_token
        for token, status, code in [
            (None, 401, "token_missing"),
            ("", 401, "token_missing"),
            ("x.y.z", 401, "token_invalid"),
            ("schlüssel" * 5, 401, "token_invalid"),
            (anon_key, 403, "forbidden"),
            (other, 403, "forbidden"),
        ]:
            with subtests.test(route.path, method=route.method, code=code):
                answer = await call_without_body(app, route, token)
                assert (answer.status, answer.code) == (status, code)
                assert answer.headers["connection"] == "close"


async def call_without_body(
    app: FastAPI, route: DeclaredRoute, token: str | None, *, announced_bytes: int = 200 * 1024**2
) -> Answer:
    """Announce a body, and fail when it is read before the answer has begun."""
    headers = [(b"content-length", str(announced_bytes).encode())]
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode("latin-1")))
    scope = {
        "type": "http",
        "method": route.method,
        "path": route.path,
        "query_string": b"",
        "headers": headers,
    }
    sent: list[Message] = []

    async def receive() -> Message:
        assert sent, "the body was read before the answer"
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    return Answer(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in rest),
    )


async def test_every_body_is_bounded_as_its_route_declares(
    app: FastAPI, settings: Settings, cluster: TestCluster, subtests: pytest.Subtests
) -> None:
    tokens = Tokens(cluster.secrets.jwt_secret, settings.auth)
    person_token, service_key = person_token_of(tokens), tokens.issue_key(Role.SERVICE)
    for route in routes_of(app):
        if route.declaration.access.is_page:
            continue
        token = service_key if route.declaration.access in _KEY else person_token
        limit = route.declaration.max_body_bytes(settings)
        with subtests.test(route.path, method=route.method, limit=limit):
            answer = await call_without_body(app, route, token, announced_bytes=limit + 1)
            assert (answer.status, answer.code) == (413, "body_too_large")


def test_only_photos_may_be_large(app: FastAPI) -> None:
    large = {
        (route.method, re.sub(r"[0-9a-f-]{36}", "ID", route.path))
        for route in routes_of(app)
        if route.declaration.max_body_bytes in {photo_body, photo_batch_body}
    }

    assert large == {
        ("POST", "/api/faces"),
        ("POST", "/upload"),
        ("POST", "/photos/ID/challenge/ID"),
        ("POST", "/ai/v1/faces"),
        ("POST", "/ai/v1/faces/batch"),
    }


def test_openapi_describes_every_answer_and_every_error(
    app: FastAPI, subtests: pytest.Subtests
) -> None:
    described = app.openapi()
    schemas = described["components"]["schemas"]

    assert "HTTPValidationError" not in schemas
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            with subtests.test(path, method=method):
                _check_answers(path, operation)
                assert operation["x-access"] in set(Access)


def _check_answers(path: str, operation: dict[str, Any]) -> None:
    error = "AuthErrorResponse" if path.startswith("/auth/v1/") else "ErrorResponse"
    answers = operation["responses"]
    assert {"413", "431", "500"} <= set(answers)
    for status, answer in answers.items():
        content = answer.get("content", {})
        if status == "204":
            assert content == {}
        elif int(status) >= 400:
            schema = content["application/json"]["schema"]
            assert schema == {"$ref": f"#/components/schemas/{error}"}
            assert re.fullmatch(r"`[a-z_]+`(, `[a-z_]+`)*", answer["description"])
        elif "application/json" in content:
            schema = content["application/json"]["schema"]
            assert all(part.keys() == {"$ref"} for part in schema.get("anyOf", [schema]))
        else:
            assert content.keys() <= {
                "image/jpeg",
                "image/webp",
                "application/zip",
                "text/event-stream",
            }
