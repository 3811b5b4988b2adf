"""Holds every error that a test gets against what its route declares in OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import unquote

import httpx2
from fastapi import FastAPI

from automatch.http.declaration import RouteTable


def check_declared_errors(app: FastAPI) -> Callable[[httpx2.Response], Awaitable[None]]:
    """Return a hook of a client that fails for an error which the route does not declare."""

    async def check(answer: httpx2.Response) -> None:
        if answer.status_code < 400:
            return
        request = answer.request
        # As the server, which does not take an escaped slash for one.
        raw_path = request.url.raw_path.decode().partition("?")[0]
        asked = unquote(re.sub("%2f", "%252F", raw_path, flags=re.IGNORECASE))
        scope = {"type": "http", "method": request.method, "path": asked}
        found = _route_table(app).find(scope | {"root_path": "", "headers": []})
        path = re.sub(r":\w+}", "}", found.path)
        operation = _openapi_paths(app).get(path, {}).get(request.method.lower())
        if operation is not None:
            declared = operation["responses"]
            assert str(answer.status_code) in declared, (request.method, path, answer.status_code)
            await answer.aread()
            code = answer.json()["error"]["code"]
            described = declared[str(answer.status_code)]["description"]
            assert f"`{code}`" in described, (request.method, path, code)

    return check


@cache
def _route_table(app: FastAPI) -> RouteTable:
    return RouteTable(app.routes)


_described: dict[tuple[int, ...], dict[str, Any]] = {}
"""By their routes, which applications share: to describe them takes longer than most tests."""


def _openapi_paths(app: FastAPI) -> dict[str, Any]:
    routes = tuple(id(route) for route in app.routes if getattr(route, "include_in_schema", False))
    if routes not in _described:
        _described[routes] = app.openapi()["paths"]
    return _described[routes]
