"""The web server: its socket, and the internals of uvicorn that it relies on."""

from __future__ import annotations

import asyncio
import inspect
import socket

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from automatch.cli.runtime.web_server import open_socket
from automatch.errors.configuration import SettingsError
from automatch.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_answers_are_not_held_back_for_an_acknowledgement(host: str) -> None:
    delays_off = asyncio.get_running_loop().create_future()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = writer.get_extra_info("socket")
        delays_off.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with open_socket(Settings(host=host, port=0)) as listening:
        async with await asyncio.start_server(accept, sock=listening):
            _, writer = await asyncio.open_connection(host, listening.getsockname()[1])
            assert await delays_off
            writer.close()
            await writer.wait_closed()


async def test_taken_port_is_refused_with_what_to_do() -> None:
    with (
        open_socket(Settings(port=0)) as taken,
        pytest.raises(SettingsError, match="AUTOMATCH_PORT"),
    ):
        open_socket(Settings(port=taken.getsockname()[1]))


def test_internals_of_uvicorn_are_those_that_were_read() -> None:
    # `_WebSocket` relies on them. After an upgrade read its base class again, then raise both the
    # version here and the bound in pyproject.toml.
    assert uvicorn.__version__.startswith("0.54.")
    assert inspect.iscoroutinefunction(WebSocketsSansIOProtocol.run_asgi)
    source = inspect.getsource(WebSocketsSansIOProtocol)
    assert "self.transport: asyncio.Transport" in source
    assert "self.loop = " in source
