"""The web server's socket."""

from __future__ import annotations

import asyncio
import socket

import pytest

from automatch.cli.runtime.serving.sockets import open_health_socket, open_socket
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


async def test_taken_port_is_refused_with_the_setting_that_names_it() -> None:
    with open_socket(Settings(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match="with --port or AUTOMATCH_PORT"):
            open_socket(Settings(port=port))
        with pytest.raises(SettingsError, match=f"port {port} .* with .*_HEALTH_PORT"):
            open_health_socket(Settings(), port)
