"""What connections share, of HTTP and of websockets: nobody stalls one for ever."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Protocol, cast

from starlette.responses import Response
from uvicorn.server import ServerState

from automatch.cli.runtime.serving.connections import Connection, Connections
from automatch.http.security_headers import security_headers
from automatch.settings import Settings

_STALL_S = 30.0
"""A client that takes nothing of an answer for this long is disconnected."""


class StoppableConnection(Protocol):
    """What uvicorn asks of a connection, once it is set up."""

    def shutdown(self) -> None: ...


class SharedState(ServerState):
    """What the protocols of all connections share."""

    def __init__(self, settings: Settings, max_connections: int | None) -> None:
        super().__init__()
        self.open = Connections(max_total=max_connections, proxies=settings.proxies)
        self._headers = security_headers(settings)

    @property
    def stoppable(self) -> set[StoppableConnection]:
        """What uvicorn stops with the server, which it types as protocols of its own."""
        return cast("set[StoppableConnection]", self.connections)

    def refuse(self, response: Response) -> Response:
        """Return *response* as it is sent before the application has seen the request."""
        response.headers.update({**self._headers, "connection": "close"})
        for name, value in self.default_headers:
            response.raw_headers.append((name, value))
        return response


class BoundedProtocol(asyncio.Protocol):
    """What connections of HTTP and of websockets have in common: nobody stalls one for ever."""

    connection: Connection
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _stalled: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def _watch(self, unsent: int) -> None:
        self._stalled = self.loop.call_later(_STALL_S, self._abort_if_stalled, unsent)

    def _abort_if_stalled(self, unsent_before: int) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent >= unsent_before:
            self.transport.abort()
        else:
            self._watch(unsent)

    def _stop_watching(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def as_bytes(response: Response) -> bytes:
    status = HTTPStatus(response.status_code)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
