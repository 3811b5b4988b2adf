"""uvicorn with bounds: on connections, on the time and size of a request's head, on silence.

This is the one place where internals of uvicorn are used; pyproject.toml therefore allows one
minor version, and tests/cli/runtime/test_http_server.py fails when another is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from http import HTTPStatus
from typing import Any, cast

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.datastructures import Headers as WebSocketHeaders
from websockets.http11 import Response as WebSocketResponse
from websockets.protocol import Event
from websockets.server import ServerProtocol

from automatch.cli.runtime.connections import (
    Acceptor,
    Connection,
    Connections,
    normalize_address,
)
from automatch.errors import AutomatchError
from automatch.errors.request import (
    RequestTimeoutError,
    TooManyConnectionsError,
    UrlTooLongError,
)
from automatch.errors.upload import HeadersTooLargeError
from automatch.http.errors import error_response, http_error_response
from automatch.http.event_stream import DETACH
from automatch.http.security_headers import security_headers
from automatch.settings import Settings
from automatch.supabase_compat.realtime.limits import TokenBucket

_GRACE_S = 7
"""Seconds in which requests may end when the server stops, before the rest is stopped."""
_HEAD_S = 10.0
"""Seconds in which the whole head of a request must arrive, from its first byte."""
_IDLE_S = 5
"""Seconds for which a connection stays open between two requests."""
_STALL_S = 30.0
"""A client that takes nothing of an answer for this long is disconnected."""
_LINGER_S = 2.0
"""Seconds for which a refused client may go on sending, so that it reads the reason."""
_MAX_URL_BYTES = 8 * 1024
_MAX_HEADER_BYTES = 16 * 1024
_MAX_HEADERS = 100
_MIN_CHUNK_BYTES = 64
_MAX_SMALL_CHUNKS = 1024
"""A body of more chunks than this is refused when they are smaller on average: each costs time."""
_MAX_MESSAGE_BYTES = 64 * 1024
_FRAMES = (1000, 100.0)
"""Burst, and rate per second, of the frames of a websocket, those without content too."""
_CLOSE_TIMEOUT_S = 15.0
"""How long the closing handshake of a websocket may take after its handler has ended."""


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
        self.server_state = _ServerState(settings, max_connections)

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
        state = cast("_ServerState", self.server_state)
        refusal = _as_bytes(state.refuse(error_response(TooManyConnectionsError())))
        for listener in sockets or []:
            acceptor = Acceptor(
                listener, state.open, make_protocol=self._make_protocol, refusal=refusal
            )
            acceptor.start()
            self.servers.append(acceptor)  # type: ignore[arg-type]  # what uvicorn calls, it has
        self._on_started()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop: also when the application's lifespan has ended by itself."""
        return await super().on_tick(counter) or self.lifespan.error_occurred

    def _make_protocol(self, connection: Connection) -> asyncio.Protocol:
        protocol = HttpProtocol(self.config, self.server_state, self.lifespan.state)
        protocol.connection = connection
        return protocol


class _ServerState(ServerState):
    """What the protocols of all connections share."""

    def __init__(self, settings: Settings, max_connections: int | None) -> None:
        super().__init__()
        self.open = Connections(max_total=max_connections, proxies=settings.proxies)
        self._headers = security_headers(settings)

    def refuse(self, response: Response) -> Response:
        """Return *response* as it is sent before the application has seen the request."""
        response.headers.update({**self._headers, "connection": "close"})
        for name, value in self.default_headers:
            response.raw_headers.append((name, value))
        return response


class _BoundedProtocol:
    """What connections of HTTP and of websockets have in common: nobody stalls one for ever."""

    connection: Connection
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _stalled: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)  # type: ignore[misc]  # of uvicorn's protocol

    def pause_writing(self) -> None:
        super().pause_writing()  # type: ignore[misc]  # of uvicorn's protocol
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()  # type: ignore[misc]  # of uvicorn's protocol

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


class HttpProtocol(_BoundedProtocol, H11Protocol):
    """uvicorn's HTTP protocol, whose client cannot keep it waiting, and our refusals."""

    server_state: _ServerState
    _head_timer: asyncio.TimerHandle | None = None
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
        self.connection.abort = transport.abort  # type: ignore[attr-defined]  # has it
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

    def _detach(self) -> EventWire:
        """Give the connection of a begun response away, with all that its request held."""
        self.cycle.disconnected = True
        self._stop_head_timer()
        self._stop_watching()
        self._unset_keepalive_if_required()
        wire = EventWire(self)
        self.connections.discard(self)
        self.connections.add(wire)  # type: ignore[arg-type]  # has what uvicorn calls
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
        self.transport.write(_as_bytes(self.server_state.refuse(response)))
        self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.abort)


class EventWire(_BoundedProtocol, asyncio.Protocol):
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
        self._server_state.connections.discard(self)
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


class WebSocketProtocol(_BoundedProtocol, WebSocketsSansIOProtocol):
    """uvicorn's websocket, which is closed even when the client does not read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn: _BoundedWebSocket = _BoundedWebSocket(
            max_size=self.config.ws_max_size, logger=self.logger
        )
        state = cast("_ServerState", kwargs["server_state"])
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

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            # A handshake that was answered by an error is complete too.
            self.handshake_complete = True

    async def run_asgi(self) -> None:
        await super().run_asgi()
        # Closing waits until everything written is sent, which a client can delay for ever.
        self.loop.call_later(_CLOSE_TIMEOUT_S, self.transport.abort)


def _as_bytes(response: Response) -> bytes:
    status = HTTPStatus(response.status_code)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
