"""uvicorn's HTTP, with bounds on a request's head, and streams that keep no request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol, cast

import h11
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from automatch.cli.runtime.serving.bounded_protocol import BoundedProtocol, SharedState, as_bytes
from automatch.cli.runtime.serving.connections import normalize_address
from automatch.cli.runtime.serving.websocket_protocol import WebSocketProtocol
from automatch.errors import AutomatchError
from automatch.errors.request import RequestTimeoutError, UrlTooLongError
from automatch.errors.upload import HeadersTooLargeError
from automatch.http.errors import error_response, http_error_response
from automatch.http.event_stream import DETACH

_HEAD_S = 10.0
"""Seconds in which the whole head of a request must arrive, from its first byte."""
_LINGER_S = 2.0
"""Seconds for which a refused client may go on sending, so that it reads the reason."""
_MAX_URL_BYTES = 8 * 1024
_MAX_HEADER_BYTES = 16 * 1024
_MAX_HEADERS = 100
_MIN_CHUNK_BYTES = 64
_MAX_SMALL_CHUNKS = 1024
"""A body of more chunks than this is refused when they are smaller on average: each costs time."""
_CHUNKED = (b"transfer-encoding", b"chunked")


class _BoundedHttp(h11.Connection):
    """h11's reading of requests, which refuses heads that are too large and chunks too small."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, _MAX_URL_BYTES + _MAX_HEADER_BYTES)
        self._refused: AutomatchError | None = None
        self._chunks = 0
        self._chunk_bytes = 0

    def next_event(self) -> Any:
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as exc:
            if exc.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
                is_url = b"\n" not in self.trailing_data[0]
                self._refused = UrlTooLongError() if is_url else HeadersTooLargeError()
            raise
        if isinstance(event, h11.Request):
            self._chunks = self._chunk_bytes = 0
            self._check_head(event)
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_end
            # A chunk that arrives in parts has as many events.
            self._chunk_bytes += len(event.data)
            if self._chunks > max(_MAX_SMALL_CHUNKS, self._chunk_bytes // _MIN_CHUNK_BYTES):
                raise h11.RemoteProtocolError("too many small chunks")
        return event

    def refusal(self) -> Response:
        """Return the answer to what `next_event` could not read."""
        if self._refused is not None:
            return error_response(self._refused)
        return http_error_response(400, "This is not a valid HTTP request")

    def _check_head(self, request: h11.Request) -> None:
        if len(request.target) > _MAX_URL_BYTES:
            self._refused = UrlTooLongError()
            raise h11.RemoteProtocolError("the address is too long")
        names = {name for name, _ in request.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            # A proxy that obeys the other one would see the begin of another request.
            raise h11.RemoteProtocolError("two ways to tell the end of the body")
        size = sum(len(name) + len(value) for name, value in request.headers)
        if len(request.headers) > _MAX_HEADERS or size > _MAX_HEADER_BYTES:
            self._refused = HeadersTooLargeError()
            raise h11.RemoteProtocolError("the headers are too large")


class _Sender(Protocol):
    """The part of uvicorn's request that is ours: it hands the application what it sends with."""

    send: Callable[[Any], Awaitable[None]]


class HttpProtocol(BoundedProtocol, H11Protocol):
    """uvicorn's HTTP protocol, whose client cannot keep it waiting, and our refusals."""

    server_state: SharedState
    _head_timer: asyncio.TimerHandle | None = None
    _head: Any = None
    """Of a stream, until its first event."""
    _is_refused = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn: _BoundedHttp = _BoundedHttp()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        # Whatever the system does not take is then watched, however little it is.
        self.transport.set_write_buffer_limits(0)
        if self.client is not None:
            self.client = (normalize_address(self.client[0]), self.client[1])
        self.connection.abort = self.transport.abort
        self._watch_client()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self.server_state.open.close(self.connection)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self.cycle is not None and not self.cycle.response_complete:
            # A body that moves waits less than one that stands still; a head is one wait.
            self.server_state.open.set_waiting(self.connection, is_waiting=False)
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self.scope is not None and self.scope["type"] == "http":
            # Before the request is handled, which is a task that has not begun.
            cast("dict[str, Any]", self.scope)["extensions"] = {DETACH: self._detach}
            if self.cycle is not None:
                cast("_Sender", self.cycle).send = partial(self._send, self.cycle)
        if self.transport.get_protocol() is self:
            self._watch_client()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_client()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop_head_timer()
        super().handle_websocket_upgrade(event)
        websocket = cast("WebSocketProtocol", self.transport.get_protocol())
        websocket.connection = self.connection
        self.server_state.open.set_waiting(self.connection, is_waiting=False)
        if not websocket.handshake_initiated:
            # What opens a websocket has to be simpler than what HTTP allows.
            self.connections.discard(websocket)
            self.connections.add(self)
            self.transport.set_protocol(self)
            self._refuse(self.conn.refusal())

    def shutdown(self) -> None:
        """Begin to end the connection with the server."""
        if self._is_refused:
            self.transport.abort()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read; *msg* is uvicorn's."""
        del msg
        self._refuse(self.conn.refusal())

    async def _send(self, cycle: RequestResponseCycle, message: Any) -> None:
        """Send the head of a stream with its first event; all else as usual."""
        if message["type"] == "http.response.start" and _is_plain_stream(cycle, message):
            self._head = message
        elif (head := self._head) is not None:
            self._head = None
            if self.flow.write_paused:
                await self.flow.drain()
            if not cycle.disconnected:
                cycle.response_started = True
                headers = [*cycle.default_headers, *head["headers"], _CHUNKED]
                lines = b"".join(b"%b: %b\r\n" % header for header in headers)
                event = message["body"]
                self.transport.write(
                    b"HTTP/1.1 200 OK\r\n%b\r\n%x\r\n%b\r\n" % (lines, len(event), event)
                )
        else:
            await RequestResponseCycle.send(cycle, message)

    def _detach(self) -> EventWire | None:
        """Give the connection of a begun response away, with all that its request held.

        None where the client has left: nobody would be told that the connection is lost.
        """
        if self.cycle.disconnected:
            return None
        self.cycle.disconnected = True
        self._stop_head_timer()
        self._stop_watching()
        self._unset_keepalive_if_required()
        wire = EventWire(self)
        self.connections.discard(self)
        self.server_state.stoppable.add(wire)
        self.transport.set_protocol(wire)
        self.flow.resume_reading()
        if self.transport.get_write_buffer_size():
            wire.pause_writing()
        return wire

    def _watch_client(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        is_waiting = not is_answering or self.cycle.more_body
        self.server_state.open.set_waiting(self.connection, is_waiting=is_waiting)
        if is_answering or self._is_refused or self.transport.is_closing():
            self._stop_head_timer()
        elif self._head_timer is None and (self.cycle is None or self.conn.trailing_data[0]):
            self._head_timer = self.loop.call_later(_HEAD_S, self._end_slow_head)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_slow_head(self) -> None:
        if self.conn.trailing_data[0]:
            self._refuse(error_response(RequestTimeoutError()))
        else:
            self.transport.close()

    def _refuse(self, response: Response) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            # Its handler has nobody to answer any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.abort()
            return
        self.transport.write(as_bytes(self.server_state.refuse(response)))
        self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.abort)


class EventWire(BoundedProtocol):
    """The connection of a response that has no request any more, and goes on for hours."""

    def __init__(self, begun: HttpProtocol) -> None:
        self.transport = begun.transport
        self.loop = begun.loop
        self.connection = begun.connection
        self.on_lost: Callable[[], None] = lambda: None
        self._server_state = begun.server_state
        self._is_chunked = begun.scope["http_version"] != "1.0"
        self._freed: asyncio.Future[None] | None = None

    @property
    def is_free(self) -> bool:
        """Whether the client has taken all that was written."""
        return self._freed is None

    async def wait_until_free(self) -> None:
        """Wait until it has, or is gone."""
        if self._freed is not None:
            await asyncio.shield(self._freed)

    def write(self, text: str) -> None:
        """Send a part of the response."""
        if not self.transport.is_closing():
            data = text.encode()
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)

    def close(self) -> None:
        """End the response."""
        if self._is_chunked and not self.transport.is_closing():
            self.transport.write(b"0\r\n\r\n")
        self.transport.close()

    shutdown = close

    def data_received(self, data: bytes) -> None:
        """Ignore what the client sends: it has asked already."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._server_state.stoppable.discard(self)
        self._server_state.open.close(self.connection)
        self._free()
        self.on_lost()

    def pause_writing(self) -> None:
        if self._freed is None:
            self._freed = self.loop.create_future()
            super().pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._free()

    def _free(self) -> None:
        freed, self._freed = self._freed, None
        if freed is not None and not freed.done():
            freed.set_result(None)


def _is_plain_stream(cycle: RequestResponseCycle, head: Any) -> bool:
    """Whether h11 would write this head as it is; to check it takes h11 a tenth of an opening."""
    return (
        DETACH in head
        and cycle.scope["http_version"] == "1.1"
        and not any(name == b"connection" for name, _ in cycle.scope["headers"])
        and not any(b"\n" in value or b"\r" in value for _, value in head["headers"])
    )
