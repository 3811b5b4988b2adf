"""Routes whose usual requests are read without what FastAPI does to read any request.

Thousands of streams open at once after a restart, and to resolve what their handler takes is a
fifth of what each costs. Whatever is not usual goes the long way, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

ReadUsual = Callable[[Request], Mapping[str, Any] | None]
"""Returns what the endpoint takes, or None of a request that is not a usual one."""

_ATTRIBUTE = "__automatch_read_usual__"
_T = TypeVar("_T")


def usually(read: ReadUsual) -> Callable[[_T], _T]:
    """Have an endpoint's usual requests read by a function."""

    def attach(endpoint: _T) -> _T:
        setattr(endpoint, _ATTRIBUTE, read)
        return endpoint

    return attach


class UsualRoute(APIRoute):
    """A route that may have a short way for usual requests."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with the short way where the endpoint has one."""
        read_any = super().get_route_handler()
        read_usual: ReadUsual | None = getattr(self.endpoint, _ATTRIBUTE, None)
        if read_usual is None:
            return read_any

        async def handle(request: Request) -> Response:
            values = read_usual(request)
            if values is None:
                return await read_any(request)
            response: Response = await self.endpoint(**values)
            return response

        return handle
