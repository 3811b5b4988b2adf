"""Requests that cannot be sent, and answers that cannot be read: each fails by itself."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.scheduling import eventually, running_schedule

pytestmark = pytest.mark.anyio

_RESPONSE = "select status_code, content, error_msg from net._http_response where id = %s"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # A request that breaks while it is written ends early.
    await reader.read(65536)
    # Half of a pair of UTF-16, which is no text.
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-7\r\n"
        b"x-odd: \xff\r\ncontent-length: 5\r\nconnection: close\r\n\r\n+2AA-"
    )
    await writer.drain()
    writer.close()


async def test_request_that_breaks_holds_up_no_other(database: Database) -> None:
    calls = [
        "net.http_post('http://127.0.0.1:99999/')",
        "net.http_get('http://[::1')",
        """net.http_post(%(url)s, headers := '{"Content-Length": "999"}')""",
        """net.http_post(%(url)s, headers := '{"X": "a\\nb"}')""",
        "net.http_get(%(url)s, timeout_milliseconds := -5)",
        "net.http_get(%(url)s, timeout_milliseconds := 60000)",
    ]
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with (
        server,
        await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn,
        running_schedule(database.schedule),
    ):
        requests = []
        for call in calls:
            cursor = await conn.execute(f"select {call}".encode(), {"url": url})
            requests += [row[0] for row in await cursor.fetchall()]
        responses = [(await eventually(database.owner, _RESPONSE, each))[0] for each in requests]

    *broken, read = responses
    assert all(error for _, _, error in broken)
    assert read == (200, "?", None)
