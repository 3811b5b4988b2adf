"""Holds every answer that a test gets against what the route declares in OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import httpx2
from fastapi import FastAPI

from automatch.http.declaration import RouteTable


def check_declared_status(app: FastAPI) -> Callable[[httpx2.Response], Awaitable[None]]:
    """Return a hook of a client that fails for a status which the route does not declare."""
    paths = app.openapi()["paths"]
    routes = RouteTable(app.routes)

    async def check(answer: httpx2.Response) -> None:
        request = answer.request
        scope = {"type": "http", "method": request.method, "path": request.url.path}
        scope |= {"root_path": "", "headers": []}
        found = routes.find(scope)
        path = re.sub(r":\w+}", "}", found.path)
        described = paths.get(path, {}).get(request.method.lower())
        if described is not None:
            declared = set(described["responses"])
            assert str(answer.status_code) in declared, (request.method, path, answer.status_code)

    return check
