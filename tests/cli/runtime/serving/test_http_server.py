"""uvicorn with bounds, in front of an application that answers a few words."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import h11
import pytest
import uvicorn
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from automatch.cli.runtime.serving import bounded_protocol, http_protocol
from automatch.feed.stream import FeedStream
from automatch.feed.stream import Wire as Wired
from automatch.http.event_stream import EventStreamResponse
from automatch.settings import Settings
from tests.support.raw_http import Wire, head, wire_to
from tests.support.system import served
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

_GET = head("GET", "/words")
_UPGRADE = (
    *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
)


class OneEvent:
    """A stream that ends after its first event."""

    async def encode_opening(self) -> str:
        return "data: one\n\n"

    def attach(self, wire: Wired) -> None:
        wire.write("data: two\n\n")
        wire.close()

    def close(self) -> None:
        """Has nothing to forget."""


def small_app() -> FastAPI:
    app = FastAPI()

    @app.get("/words")
    async def words(request: Request) -> dict[str, object]:
        client = request.client
        return {"client": client and client.host, "scheme": request.url.scheme}

    @app.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.Event().wait()

        return StreamingResponse(parts())

    @app.get("/events")
    async def events() -> EventStreamResponse:
        return EventStreamResponse(cast("FeedStream", OneEvent()))

    @app.get("/flood")
    async def flood() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 65536
                    await asyncio.sleep(0)
            finally:
                app.state.flood_ended.set()

        return StreamingResponse(parts())

    @app.websocket("/socket")
    async def accept(websocket: WebSocket) -> None:
        await websocket.accept()
        with contextlib.suppress(Exception):
            while True:
                await websocket.send_text(await websocket.receive_text())

    @app.websocket("/closed")
    async def deny(websocket: WebSocket) -> None:
        await websocket.send_denial_response(PlainTextResponse("closed", 403))

    app.state.flood_ended = asyncio.Event()
    return app


@asynccontextmanager
async def serving(
    settings: Settings | None = None, max_connections: int | None = None
) -> AsyncIterator[str]:
    """Serve the small application until left; give its address."""
    async with served(small_app(), settings or Settings(), max_connections=max_connections) as url:
        yield url


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with serving() as address:
        yield address


async def refused(connection: Wire) -> tuple[int, str]:
    """Return status and code of an answer in our shape, after which the connection is closed."""
    answer = await connection.answer()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" in answer.headers
    assert await connection.rest() == b""
    return answer.status, answer.code


async def test_what_no_request_may_be_is_refused_in_our_shape(
    url: str, subtests: pytest.Subtests
) -> None:
    chunked = head("POST", "/body", "Transfer-Encoding: chunked")
    for name, sent, expected in [
        ("no HTTP", b"\x16\x03\x01\r\n\r\n", (400, "request_invalid")),
        ("no host", b"GET / HTTP/1.1\r\n\r\n", (400, "request_invalid")),
        ("long address", head("GET", "/" + "a" * 8192), (414, "url_too_long")),
        ("address without end", b"GET /" + b"a" * 50_000, (414, "url_too_long")),
        ("large header", head("GET", "/", "x: " + "a" * 16384), (431, "headers_too_large")),
        ("header without end", _GET[:-2] + b"x: " + b"a" * 50_000, (431, "headers_too_large")),
        ("many headers", head("GET", "/", *["x: y"] * 100), (431, "headers_too_large")),
        (
            "two lengths",
            head("POST", "/body", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
            (400, "request_invalid"),
        ),
        ("size in words", chunked + b"five\r\nwords\r\n", (400, "request_invalid")),
        ("negative size", chunked + b"-5\r\nwords\r\n", (400, "request_invalid")),
        ("tiny chunks", chunked + b"1\r\n \r\n" * 1100, (400, "request_invalid")),
        (
            "other coding",
            head("POST", "/body", "Transfer-Encoding: gzip"),
            (400, "request_invalid"),
        ),
        ("socket by POST", head("POST", "/socket", *_UPGRADE), (400, "request_invalid")),
        (
            "socket, long line",
            head("GET", "/socket", *_UPGRADE, "x: " + "a" * 9000),
            (400, "request_invalid"),
        ),
        ("socket without key", head("GET", "/socket", *_UPGRADE[:3]), (400, "request_invalid")),
    ]:
        with subtests.test(name):
            async with wire_to(url) as connection:
                await connection.send(sent)
                assert await refused(connection) == expected


async def test_large_requests_within_the_bounds_are_answered(url: str) -> None:
    async with wire_to(url) as connection:
        await connection.send(head("GET", "/words?" + "a" * 8000, *["x: " + "y" * 150] * 90))
        assert (await connection.answer()).status == 200
        # A body of many small chunks, as some clients write one, and one more request.
        chunks = b"40\r\n" + b"x" * 64 + b"\r\n"
        await connection.send(head("POST", "/body", "Transfer-Encoding: chunked"))
        await connection.send(chunks * 2000 + b"0\r\n\r\n")
        assert (await connection.answer()).body == b"128000"
        await connection.send(_GET)
        assert (await connection.answer()).status == 200


def test_chunks_count_as_large_as_they_are_however_the_network_cuts_them() -> None:
    sent = head("POST", "/body", "Transfer-Encoding: chunked")
    sent += (b"40\r\n" + b"x" * 64 + b"\r\n") * 1500 + b"0\r\n\r\n"
    connection = http_protocol._BoundedHttp()  # where the network cuts is not ours to choose
    events: list[object] = []
    for start in range(0, len(sent), 100):
        connection.receive_data(sent[start : start + 100])
        while isinstance(event := connection.next_event(), h11.Event):
            events.append(event)
    assert sum(len(event.data) for event in events if isinstance(event, h11.Data)) == 96_000
    assert isinstance(events[-1], h11.EndOfMessage)


async def test_head_that_does_not_end_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    monkeypatch.setattr(http_protocol, "_HEAD_S", 0.2)
    with subtests.test("nothing is sent"):
        async with wire_to(url) as connection:
            assert await connection.rest() == b""
    half = b"GET /words HTTP/1.1\r\nx: "
    with subtests.test("first request"):
        # It is there when the server accepts the connection, so that the time runs from a byte on.
        async with wire_to(url, half) as connection:
            dripping = asyncio.create_task(_drip(connection))
            assert await refused(connection) == (408, "request_timeout")
            dripping.cancel()
    with subtests.test("second request"), monkeypatch.context() as patient:
        patient.setattr(http_protocol, "_HEAD_S", PATIENCE_S)
        async with wire_to(url) as connection:
            await connection.send(_GET)
            assert (await connection.answer()).status == 200
            patient.setattr(http_protocol, "_HEAD_S", 0.2)
            await connection.send(half)
            dripping = asyncio.create_task(_drip(connection))
            assert await refused(connection) == (408, "request_timeout")
            dripping.cancel()


async def _drip(connection: Wire) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            await connection.send(b"y")
            await asyncio.sleep(0.01)


async def test_new_connection_gets_the_place_of_the_one_that_waits_longest(
    subtests: pytest.Subtests,
) -> None:
    half_body = head("POST", "/body", "Content-Length: 10") + b"half"
    for name, sent in [("silent", b""), ("half a head", _GET[:9]), ("half a body", half_body)]:
        with subtests.test(name):
            # Of 12 places one address has 3.
            async with serving(max_connections=12) as url, contextlib.AsyncExitStack() as stack:
                streaming = await stack.enter_async_context(wire_to(url))
                await streaming.send(head("GET", "/stream"))
                await streaming.reader.readuntil(b"first")
                held = []
                for _ in range(10):
                    held.append(await stack.enter_async_context(wire_to(url)))
                    await held[-1].send(sent)

                async with wire_to(url) as connection:
                    await connection.send(_GET)
                    assert (await connection.answer()).status == 200

                assert await held[0].rest() == b""
                assert not streaming.reader.at_eof()


async def test_no_place_at_all_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(max_connections=4) as url:
        async with wire_to(url) as streaming:
            await streaming.send(head("GET", "/stream"))
            await streaming.reader.readuntil(b"first")
            async with wire_to(url) as connection:
                assert await refused(connection) == (503, "too_many_connections")
        # The place is free again as soon as the server knows that the client has left.
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with wire_to(url) as connection:
                    await connection.send(_GET)
                    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                        if (await connection.answer()).status == 200:
                            break
    assert "connections are refused: all 1 places are taken" in caplog.text


async def test_head_of_a_stream_is_what_h11_would_write(url: str) -> None:
    async def ask(*lines: str) -> list[str]:
        async with wire_to(url) as connection:
            await connection.send(head("GET", "/events", *lines))
            answer = (await connection.rest()).decode().lower()
        return ["date" if line.startswith("date: ") else line for line in answer.split("\r\n")]

    plain, by_h11 = await ask(), await ask("Connection: close")

    assert plain[0] == "http/1.1 200 ok"
    assert plain.count("transfer-encoding: chunked") == 1
    by_h11.remove("connection: close")
    assert plain == by_h11


async def test_stream_ends_whose_client_leaves_while_it_opens() -> None:
    opens, ended = asyncio.Event(), asyncio.Event()
    app = small_app()

    @app.get("/slow")
    async def slow(request: Request) -> EventStreamResponse:
        class Left(OneEvent):
            async def encode_opening(self) -> str:
                opens.set()
                while (await request.receive())["type"] != "http.disconnect":
                    pass
                return await super().encode_opening()

            def attach(self, wire: Wired) -> None:
                wire.on_lost = self.close

            def close(self) -> None:
                ended.set()

        return EventStreamResponse(cast("FeedStream", Left()))

    async with served(app, Settings()) as url, asyncio.timeout(PATIENCE_S):
        async with wire_to(url) as connection:
            await connection.send(head("GET", "/slow"))
            await opens.wait()
        await ended.wait()


async def test_client_that_reads_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_protocol, "_STALL_S", 0.2)
    app = small_app()
    async with served(app, Settings()) as url, wire_to(url) as connection:
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await connection.send(head("GET", "/flood"))
        await asyncio.wait_for(app.state.flood_ended.wait(), 20)


async def test_websocket_that_floods_is_cut_off(url: str, subtests: pytest.Subtests) -> None:
    pong = b"\x8a\x00"
    for name, frame, most in [
        ("pings", b"\x89\x80\0\0\0\0", 2500 * len(pong)),
        ("empty parts", b"\x00\x80\0\0\0\0", 0),
    ]:
        with subtests.test(name):
            async with wire_to(url) as connection:
                await connection.send(head("GET", "/socket", *_UPGRADE))
                assert (await connection.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
                await connection.send(b"\x01\x80\0\0\0\0" + frame * 5000)
                # Later the server would ask by a ping whether anybody is there.
                answered = await connection.rest()
                assert len(answered) <= most
                assert b"\x89" not in answered


async def test_websocket_that_is_denied_is_no_fault_of_ours(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with wire_to(url) as connection:
        await connection.send(head("GET", "/closed", *_UPGRADE))
        assert (await connection.answer()).body == b"closed"
        assert await connection.rest() == b""
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_only_a_trusted_proxy_tells_who_asks(subtests: pytest.Subtests) -> None:
    public = "https://match.example.org"
    for name, settings, client, scheme in [
        ("no proxy", Settings(), "127.0.0.1", "http"),
        ("on this machine", Settings(public_url=public), "192.0.2.1", "https"),
        ("named", Settings(trusted_proxies="127.0.0.0/8 10.0.0.0/8"), "192.0.2.1", "https"),
        ("another", Settings(public_url=public, trusted_proxies="10.0.0.1"), "127.0.0.1", "http"),
    ]:
        with subtests.test(name):
            async with serving(settings) as url, wire_to(url) as connection:
                # The first address is what the client itself has sent.
                forwarded = "X-Forwarded-For: 198.51.100.7, 192.0.2.1", "X-Forwarded-Proto: https"
                await connection.send(head("GET", "/words", *forwarded))
                answer = json.loads((await connection.answer()).body)
                assert answer == {"client": client, "scheme": scheme}


async def test_server_stops_beside_connections_in_every_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_protocol, "_LINGER_S", 60)
    async with contextlib.AsyncExitStack() as stack, serving() as url:
        for sent in (b"", _GET[:9], b"no HTTP\r\n\r\n", _GET):
            connection = await stack.enter_async_context(wire_to(url))
            await connection.send(sent)
            if len(sent) > 9:
                await connection.answer()


def test_internals_of_uvicorn_are_those_that_were_read() -> None:
    # The protocols rely on them. After an upgrade read its base classes again, then raise both
    # the version here and the bound in pyproject.toml.
    assert uvicorn.__version__.startswith("0.54.")
    assert h11.__version__.startswith("0.16.")
    http = inspect.getsource(H11Protocol)
    for used in (
        "self.conn = h11.Connection(",
        "event = self.conn.next_event()",
        "self.send_400_response(msg)",
        "self.handle_websocket_upgrade(event)",
        "on_response=self.on_response_complete",
        "self.cycle.more_body = False",
        "def _unset_keepalive_if_required",
        "self.cycle.run_asgi(app)",
    ):
        assert used in http
    cycle = inspect.getsource(RequestResponseCycle)
    for used in ("self.scope, self.receive, self.send", "self.response_started = True"):
        assert used in cycle
    websocket = inspect.getsource(WebSocketsSansIOProtocol)
    for used in (
        "self.conn = ServerProtocol(",
        "self.response = self.conn.accept(event)",
        "for event in self.conn.events_received():",
        "async def run_asgi(self)",
        "self.writable.clear()",
        "self.handshake_initiated = True",
    ):
        assert used in websocket
    server = inspect.getsource(uvicorn.Server)
    assert "for server in self.servers:\n            server.close()" in server
