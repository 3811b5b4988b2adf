"""What the short way reads of a request is what FastAPI reads, and all else goes the long way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.types import Scope

from automatch.errors.auth import TokenMissingError
from automatch.http.routes import matches
from automatch.http.usual_request import _ATTRIBUTE
from automatch.model.people import Claims, Role
from automatch.web.matching import feed_pages

pytestmark = pytest.mark.anyio

CLAIMS = Claims(Role.AUTHENTICATED, subject=uuid4())
SERVICES = SimpleNamespace()
QUERIES = [
    "",
    "after=0",
    "after=17",
    "after=%31",
    "after=1&after=2",
    "after=999999999999999999",
    "after=9999999999999999999999",
    f"after={'9' * 5000}",
    "after=-1",
    "after=+1",
    "after= 1",
    "after=1.0",
    "after=x",
    "after=",
    "after=\u0661",
    "other=1",
    "after=3&show=liked&sort=best",
    "show=new",
    "sort=best&show=all",
    "show=ALL",
    "show=",
    "sort=oldest&after=1",
]


def request_for(path: str, query: str) -> Request:
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": str(httpx2.QueryParams(query)).encode(),
        "headers": [(b"last-event-id", b"5")],
        "state": {"claims": CLAIMS},
        "app": SimpleNamespace(state=SimpleNamespace(services=SERVICES)),
    }
    return Request(scope)


def route_of(path: str) -> APIRoute:
    router = matches.router if path.startswith("/api") else feed_pages.router
    (route,) = [r for r in router.routes if isinstance(r, APIRoute) and r.path == path]
    return route


@pytest.mark.parametrize("path", ["/api/matches/stream", "/feed/stream"])
async def test_position_that_the_database_cannot_hold_is_refused(path: str) -> None:
    largest = 2**63 - 1
    found = await _read_any(route_of(path), f"after={largest}")

    assert found is not None
    assert found["after"] == largest
    assert await _read_any(route_of(path), f"after={largest + 1}") is None


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("path", ["/api/matches/stream", "/feed/stream"])
async def test_short_way_reads_what_the_long_way_reads(path: str, query: str) -> None:
    route = route_of(path)
    read_usual = getattr(route.endpoint, _ATTRIBUTE)
    short = read_usual(request_for(path, query))
    long = await _read_any(route, query)

    assert short is None or short == long
    # What clients send takes the short way.
    usual = "after=17" if path.startswith("/api") else "after=3&show=liked&sort=best"
    assert read_usual(request_for(path, usual)) is not None


async def _read_any(route: APIRoute, query: str) -> dict[str, Any] | None:
    """Return what FastAPI gives the endpoint; None where it refuses the request."""
    app = FastAPI()
    app.state.services = SERVICES
    given: list[dict[str, Any]] = []

    async def endpoint(**values: Any) -> None:
        given.append(values)

    plain = APIRoute(route.path, route.endpoint, response_model=None)
    plain.dependant.call = endpoint
    app.router.routes.append(plain)

    async def signed_in(scope: Scope, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["claims"] = CLAIMS
        await app(scope, receive, send)

    transport = httpx2.ASGITransport(signed_in)
    async with httpx2.AsyncClient(transport=transport, base_url="http://a") as client:
        answer = await client.get(
            f"{route.path}?{httpx2.QueryParams(query)}", headers={"last-event-id": "5"}
        )
    if answer.status_code == 422:
        return None
    (values,) = given
    return values


async def test_somebody_who_is_not_signed_in_is_refused_on_the_short_way_too() -> None:
    request = request_for("/api/matches/stream", "")
    request.state.claims = None
    with pytest.raises(TokenMissingError):
        matches._read_stream(request)
