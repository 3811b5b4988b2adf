"""uvicorn with bounds: on connections, on the time and size of a request's head, on silence.

Internals of uvicorn are used here and by the protocols alone; pyproject.toml therefore allows one
minor version, and tests/cli/runtime/serving/test_http_server.py fails when another is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from typing import Protocol, cast

import uvicorn
from starlette.applications import Starlette

from automatch.cli.runtime.serving.bounded_protocol import SharedState, as_bytes
from automatch.cli.runtime.serving.connections import Acceptor, Connection
from automatch.cli.runtime.serving.http_protocol import HttpProtocol
from automatch.cli.runtime.serving.websocket_protocol import WebSocketProtocol
from automatch.errors.request import TooManyConnectionsError
from automatch.http.errors import error_response
from automatch.settings import Settings

_GRACE_S = 7
"""Seconds in which requests may end when the server stops, before the rest is stopped."""
_IDLE_S = 5
"""Seconds for which a connection stays open between two requests."""
_MAX_MESSAGE_BYTES = 64 * 1024


def uvicorn_config(app: Starlette, settings: Settings) -> uvicorn.Config:
    """Return how uvicorn serves *app*."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=_IDLE_S,
        lifespan="on",
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=_MAX_MESSAGE_BYTES,
        # Our messages are short, and a few compressed bytes can expand to many.
        ws_per_message_deflate=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies,
    )


class StoppableServer(Protocol):
    """What uvicorn asks of the servers that it stops, which it types as asyncio's."""

    def close(self) -> None: ...

    async def wait_closed(self) -> None: ...


class HttpServer(uvicorn.Server):
    """uvicorn's server without its signal handlers, which accepts connections in our own way."""

    def __init__(
        self,
        app: Starlette,
        settings: Settings,
        *,
        on_started: Callable[[], None] = lambda: None,
        max_connections: int | None = None,
    ) -> None:
        super().__init__(uvicorn_config(app, settings))
        self._on_started = on_started
        self.server_state = SharedState(settings, max_connections)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave SIGINT and SIGTERM to `handle_signals`: we decide the order of the shutdown."""
        yield

    def force(self) -> None:
        """Cut off the requests that are still being answered."""
        self.force_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, accept connections, and call `on_started`."""
        await super().startup([])
        if not self.started:
            return
        state = cast("SharedState", self.server_state)
        refusal = as_bytes(state.refuse(error_response(TooManyConnectionsError())))
        for listener in sockets or []:
            acceptor = Acceptor(
                listener, state.open, make_protocol=self._make_protocol, refusal=refusal
            )
            acceptor.start()
            cast("list[StoppableServer]", self.servers).append(acceptor)
        self._on_started()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop: also when the application's lifespan has ended by itself."""
        return await super().on_tick(counter) or self.lifespan.error_occurred

    def _make_protocol(self, connection: Connection) -> asyncio.Protocol:
        protocol = HttpProtocol(self.config, self.server_state, self.lifespan.state)
        protocol.connection = connection
        return protocol
