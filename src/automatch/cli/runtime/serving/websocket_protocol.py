"""uvicorn's websocket, with bounds on frames and on how long it may take to close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from starlette.responses import Response
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers as WebSocketHeaders
from websockets.http11 import Response as WebSocketResponse
from websockets.protocol import Event
from websockets.server import ServerProtocol

from automatch.cli.runtime.serving.bounded_protocol import BoundedProtocol, SharedState
from automatch.cli.runtime.serving.connections import normalize_address
from automatch.http.errors import http_error_response
from automatch.supabase_compat.realtime.limits import TokenBucket

_FRAMES = (1000, 100.0)
"""Burst, and rate per second, of the frames of a websocket, those without content too."""
_CLOSE_TIMEOUT_S = 15.0
"""How long the closing handshake of a websocket may take after its handler has ended."""


_GOING_AWAY = 1001
"""Code of a connection that a server closes because it stops (RFC 6455, section 7.4.1)."""


class _BoundedWebSocket(ServerProtocol):
    """A websocket's state, with our refusals and a bound on the rate of frames."""

    make_refusal: Callable[[Response], Response]
    is_flooded = False
    """Whether more frames came than a client has reason to send."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._frames = TokenBucket(*_FRAMES)

    def events_received(self) -> list[Event]:
        events = super().events_received()
        if not all(self._frames.take() for _ in events):
            self.is_flooded = True
        return events

    def reject(self, status: int, text: str) -> WebSocketResponse:
        """Return the answer to a handshake that failed; *text* is the library's."""
        del text
        response = self.make_refusal(
            http_error_response(
                status, "This is not a websocket's handshake, or there is none here"
            )
        )
        headers = WebSocketHeaders(
            [(name.decode(), value.decode("latin-1")) for name, value in response.raw_headers]
        )
        return WebSocketResponse(status, HTTPStatus(status).phrase, headers, bytes(response.body))


class WebSocketProtocol(BoundedProtocol, WebSocketsSansIOProtocol):
    """uvicorn's websocket, which is closed even when the client does not read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn: _BoundedWebSocket = _BoundedWebSocket(
            max_size=self.config.ws_max_size, logger=self.logger
        )
        state = cast("SharedState", kwargs["server_state"])
        self.conn.make_refusal = state.refuse
        self._open = state.open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.client is not None:
            self.client = (normalize_address(self.client[0]), self.client[1])

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.close(self.connection)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # In parts, so that whoever sends a flood of tiny frames is stopped early.
        for start in range(0, len(data), 4096):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + 4096])
            if self.conn.is_flooded:
                self.transport.abort()
        # A client that asks for pongs and reads none has to wait.
        if not self.writable.is_set():
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    def shutdown(self) -> None:
        """Close the connection and say why: uvicorn would say that it starts anew."""
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": _GOING_AWAY})
            self.conn.send_close(_GOING_AWAY, "the server stops")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        super().shutdown()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            # A handshake that was answered by an error is complete too.
            self.handshake_complete = True

    async def run_asgi(self) -> None:
        await super().run_asgi()
        # Closing waits until everything written is sent, which a client can delay for ever.
        self.loop.call_later(_CLOSE_TIMEOUT_S, self.transport.abort)
