"""Holds every error that a test gets against what its route declares in OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote

import httpx2
from fastapi import FastAPI

from automatch.http.declaration import RouteTable


def check_declared_errors(app: FastAPI) -> Callable[[httpx2.Response], Awaitable[None]]:
    """Return a hook of a client that fails for an error which the route does not declare."""
    declared_of = cache(lambda: _declared(app))

    async def check(answer: httpx2.Response) -> None:
        if answer.status_code < 400:
            return
        request, declared = answer.request, declared_of()
        # As the server, which does not take an escaped slash for one.
        raw_path = request.url.raw_path.decode().partition("?")[0]
        asked = unquote(re.sub("%2f", "%252F", raw_path, flags=re.IGNORECASE))
        scope = {"type": "http", "method": request.method, "path": asked}
        found = declared.table.find(scope | {"root_path": "", "headers": []})
        path = re.sub(r":\w+}", "}", found.path)
        operation = declared.paths.get(path, {}).get(request.method.lower())
        if operation is not None:
            responses = operation["responses"]
            assert str(answer.status_code) in responses, (request.method, path, answer.status_code)
            await answer.aread()
            code = answer.json()["error"]["code"]
            described = responses[str(answer.status_code)]["description"]
            assert f"`{code}`" in described, (request.method, path, code)

    return check


@dataclass(frozen=True)
class _Declared:
    routes: tuple[object, ...]
    table: RouteTable
    paths: dict[str, Any]


_known: dict[tuple[int, ...], _Declared] = {}
"""By their routes, which applications share: to describe them takes longer than most tests."""


def _declared(app: FastAPI) -> _Declared:
    routes = tuple(route for route in app.routes if getattr(route, "include_in_schema", False))
    key = tuple(id(route) for route in routes)
    if key not in _known:
        _known[key] = _Declared(routes, RouteTable(routes), app.openapi()["paths"])
    return _known[key]
