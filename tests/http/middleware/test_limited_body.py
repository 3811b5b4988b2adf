"""Requests that are too large, too slow or no HTTP: refused early, with a reason that arrives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from urllib.parse import urlsplit

import pytest
from starlette.types import Message

from automatch.errors.upload import BodyTimeoutError
from automatch.http.middleware import limited_body
from automatch.http.middleware.limited_body import LimitedBody
from automatch.settings import Settings
from automatch.settings.server import UploadSettings
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.raw_http import (
    form,
    head,
    part,
    post_form,
    traces,
    upload_head,
    wire,
)
from tests.support.system import System, running_server
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

_200_MB = 200 * 1024**2
_CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"


async def test_token_is_checked_before_the_body(server: System, subtests: pytest.Subtests) -> None:
    before = traces(server)
    for name, token in [("none", None), ("wrong", "x.y.z")]:
        with subtests.test(name):
            async with wire(server) as connection:
                await connection.send(upload_head(token, f"Content-Length: {_200_MB}"))
                answer = await connection.answer()
            assert answer.status == 401
            assert answer.code == ("token_missing" if token is None else "token_invalid")
            assert answer.headers["connection"] == "close"
    assert traces(server) == before


async def test_client_that_asks_first_is_never_told_to_go_on(
    server: System, caplog: pytest.LogCaptureFixture
) -> None:
    async with wire(server) as connection:
        lines = f"Content-Length: {_200_MB}", "Expect: 100-continue"
        await connection.send(upload_head(None, *lines))

        assert (await connection.answer()).status == 401
        assert await connection.rest() == b""
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_announced_size_is_refused_at_once(server: System) -> None:
    person = await server.join()
    async with wire(server) as connection:
        await connection.send(upload_head(person.token, f"Content-Length: {_200_MB}"))
        answer = await connection.answer()

    assert (answer.status, answer.code) == (413, "body_too_large")


async def test_consent_is_asked_for_before_the_body(server: System) -> None:
    person = await server.sign_up()
    async with wire(server) as connection:
        await connection.send(upload_head(person.token, "Content-Length: 1000000"))
        answer = await connection.answer()

    assert (answer.status, answer.code) == (403, "consent_required")


async def test_client_that_reads_last_still_gets_the_reason(
    server: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As long as a busy machine may need to send it all to itself.
    monkeypatch.setattr(limited_body, "_LINGER_S", PATIENCE_S)
    person = await server.join()
    data = b"x" * 20 * 1024**2

    received = await asyncio.to_thread(
        _send_then_read, server, upload_head(person.token, f"Content-Length: {len(data)}") + data
    )

    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in received


async def test_body_without_end_is_cut_off_at_the_limit(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    small = settings.model_copy(update={"upload": UploadSettings(max_bytes=200_000)})
    async with running_server(small, cluster.secrets, database) as system:
        person = await system.join()
        before = traces(system)
        async with wire(system) as connection:
            await connection.send(upload_head(person.token, "Transfer-Encoding: chunked"))
            start = part('name="file"; filename="a.jpg"', b"")[:-2]
            await connection.send(f"{len(start):x}\r\n".encode() + start + b"\r\n")
            for _ in range(4):
                await connection.send(_CHUNK)
            answer = await connection.answer()
            swallowed = await _send_until_closed(connection.writer)

        assert (answer.status, answer.code) == (413, "body_too_large")
        assert answer.headers["connection"] == "close"
        assert swallowed < 100 * 1024**2
        assert traces(system) == before


async def test_small_body_without_a_length_is_counted(server: System) -> None:
    person = await server.sign_up()

    async def endless() -> object:
        for _ in range(100):
            yield b" " * 1000

    answer = await server.client.put(
        "/api/profile",
        content=endless(),  # type: ignore[arg-type]  # an async iterator
        headers={**person.headers, "content-type": "application/json"},
    )

    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


async def test_body_that_stands_still_is_given_up(
    settings: Settings, cluster: TestCluster, database: Database, subtests: pytest.Subtests
) -> None:
    hasty = settings.model_copy(update={"upload": UploadSettings(stall_timeout_s=2)})
    async with running_server(hasty, cluster.secrets, database) as system:
        person = await system.join()
        before = traces(system)
        body = form(part('name="file"; filename="a.jpg"', encode(astronaut())))
        heads = {
            "upload": upload_head(person.token, f"Content-Length: {len(body)}"),
            "JSON": head(
                "POST",
                "/auth/v1/signup",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
            ),
        }
        for name, opening in heads.items():
            with subtests.test(name):
                async with wire(system) as connection:
                    await connection.send(opening + body[:100])
                    answer = await connection.answer()
                    assert (answer.status, answer.code) == (408, "body_timeout")
                    assert await connection.rest() == b""
        assert traces(system) == before
        assert (await person.upload(encode(astronaut()))).status_code == 202


class _Sender:
    """A client that sends as much a second, in one message each, at a clock of its own."""

    def __init__(self, *bytes_per_s: int) -> None:
        self.now = 0.0
        self._sizes = list(bytes_per_s)

    async def receive(self) -> Message:
        self.now += 1
        size = self._sizes.pop(0)
        return {"type": "http.request", "body": bytes(size), "more_body": bool(self._sizes)}


async def _read(sender: _Sender) -> int:
    """Return how many bytes of a body were read before its end, or before it was ended."""
    scope = {"type": "http", "headers": [(b"transfer-encoding", b"chunked")]}
    limits = UploadSettings()
    body = LimitedBody(
        scope, sender.receive, limits, max_bytes=limits.max_bytes, clock=lambda: sender.now
    )
    received = 0
    with contextlib.suppress(BodyTimeoutError):
        while (message := await body.receive())["more_body"]:
            received += len(message["body"])
    return received + len(message["body"])


async def test_body_that_moves_may_take_any_time() -> None:
    for rates in ([60_000] * 200, [5_000] * 3000, [0] * 14 + [200_000] + [0] * 14 + [130_000]):
        assert await _read(_Sender(*rates)) == sum(rates)


async def test_body_that_crawls_is_given_up_whatever_came_before() -> None:
    assert await _read(_Sender(*[4_000] * 3000)) < 40 * 4_000
    assert await _read(_Sender(*[200_000] * 60, *[1] * 3000)) < 60 * 200_000 + 100
    # The last bytes are never too late.
    assert await _read(_Sender(*[1] * 30)) == 30


async def test_stream_outlives_the_time_limit_of_bodies(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    feed = settings.feed.model_copy(update={"ping_s": 0.1})
    hasty = settings.model_copy(
        update={"upload": UploadSettings(stall_timeout_s=0.6), "feed": feed}
    )
    async with running_server(hasty, cluster.secrets, database) as system:
        person = await system.join()
        async with wire(system) as connection:
            await connection.send(head("GET", "/api/matches/stream", token=person.token))
            started = time.monotonic()
            while time.monotonic() - started < 1:
                await asyncio.wait_for(connection.reader.readuntil(b": ping"), 60)


async def test_large_headers_are_refused(server: System, subtests: pytest.Subtests) -> None:
    for size, status in [(8_000, 401), (20_000, 431), (60_000, 431)]:
        with subtests.test(size=size):
            answer = await server.client.get("/api/matches", headers={"x-more": "x" * size})
            assert answer.status_code == status
    assert answer.json()["error"]["code"] == "headers_too_large"


async def test_what_is_no_http_is_answered_once_and_cut_off(
    server: System, subtests: pytest.Subtests
) -> None:
    person = await server.join()
    good = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    for name, sent in {
        "two lengths": upload_head(person.token, "Content-Length: 5", "Content-Length: 6"),
        "negative length": upload_head(person.token, "Content-Length: -5"),
        "length in words": upload_head(person.token, "Content-Length: 5abc"),
        "endless length": upload_head(person.token, "Content-Length: " + "9" * 5000),
        "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
        "blank in a name": head("GET", "/healthz", "a b: c"),
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00",
        "no words": b"\r\n\r\n\0\0\0\0\r\n\r\n",
    }.items():
        with subtests.test(name):
            async with wire(server) as connection:
                await connection.send(sent + b"\r\n" + good)
                answer = await connection.answer()
                assert answer.status in {400, 413}
                assert b"Traceback" not in answer.body
                assert await connection.rest() == b""
    assert (await server.client.get("/healthz")).status_code == 200


async def test_length_beside_chunks_smuggles_nothing(server: System) -> None:
    person = await server.join()
    hidden = head("DELETE", "/api/profile", token=person.token)
    async with wire(server) as connection:
        await connection.send(
            upload_head(None, "Content-Length: 5", "Transfer-Encoding: chunked")
            + b"0\r\n\r\n"
            + hidden
        )
        answer = await connection.answer()
        assert await connection.rest() == b""

    assert answer.status in {400, 401}
    assert (await person.get("/api/profile")).status_code == 200


async def test_method_in_a_header_is_not_obeyed(server: System) -> None:
    person = await server.join()

    for name in ("x-http-method-override", "x-http-method", "x-method-override"):
        answer = await server.client.post(
            "/api/profile", headers={**person.headers, name: "DELETE"}
        )
        assert answer.status_code == 405

    assert (await person.get("/api/profile")).status_code == 200


async def test_honest_upload_works_beside_many_that_stand_still(server: System) -> None:
    person = await server.join()
    body = form(part('name="file"; filename="a.jpg"', encode(astronaut())))
    opening = upload_head(person.token, f"Content-Length: {len(body)}")
    async with asyncio.TaskGroup() as group:
        standing = [
            group.create_task(_stand_still(server, opening + body[:1000])) for _ in range(50)
        ]
        await asyncio.wait(standing, timeout=0.3)

        status, _ = await post_form(server, person.token, body)

        for task in standing:
            task.cancel()
    assert status == 202


async def _stand_still(system: System, data: bytes) -> None:
    async with wire(system) as connection:
        await connection.send(data)
        await asyncio.Event().wait()


async def _send_until_closed(writer: asyncio.StreamWriter) -> int:
    sent = 0
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                writer.write(_CHUNK)
                await writer.drain()
                sent += len(_CHUNK)
    except OSError:
        return sent


def _send_then_read(system: System, data: bytes) -> bytes:
    address = urlsplit(system.url)
    assert address.hostname
    assert address.port
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received
