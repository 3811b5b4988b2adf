"""How many connections there may be, and how accepting goes on when there can be no more."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import socket
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import urlsplit

import httpx2
import pytest

from automatch.cli.runtime.serving import connections
from automatch.cli.runtime.serving.connections import Acceptor, Connection, Connections
from tests.support.ai import KEY
from tests.support.command import running_server_command
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

_OPENED = 300


def opened(places: Connections, address: str) -> Connection | None:
    connection = places.open(address)
    if connection is not None:
        connection.abort = lambda: None
    return connection


@pytest.mark.parametrize(
    ("addresses", "proxies", "count"),
    [
        (["192.0.2.1"], [], 4),
        (["192.0.2.1", "::ffff:192.0.2.1"], [], 4),
        (["2001:db8::1", "2001:db8::2", "2001:db8::ffff"], [], 4),
        (["2001:db8::1", "2001:db8:0:1::1"], [], 8),
        (["10.0.0.1"], ["10.0.0.0/8"], 16),
        (["2001:db8::1"], ["2001:db8::/32"], 16),
        ([f"192.0.2.{last}" for last in range(20)], [], 16),
    ],
)
def test_one_client_has_a_quarter_of_the_places(
    addresses: list[str], proxies: list[str], count: int
) -> None:
    places = Connections(max_total=16, proxies=proxies)

    for number in range(40):
        opened(places, addresses[number % len(addresses)])

    assert len(places) == count


def test_only_a_connection_that_waits_gives_up_its_place() -> None:
    places = Connections(max_total=4)
    working = opened(places, "192.0.2.1")
    assert working is not None
    assert opened(places, "192.0.2.1") is None

    places.set_waiting(working, is_waiting=True)
    working.abort = Mock()

    assert opened(places, "192.0.2.1") is not None
    working.abort.assert_called_once_with()
    places.close(working)
    assert len(places) == 1


def test_most_descriptors_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, expected in [
        (200, 120),
        (400, 240),
        (10**6, 12_288),
        (resource.RLIM_INFINITY, 12_288),
    ]:
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        places = Connections()
        for number in range(13_000):
            opened(places, f"10.0.{number // 256}.{number % 256}")
        assert len(places) == expected


async def test_accepting_pauses_when_there_is_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "_PAUSE_S", 0.01)
    made = asyncio.Event()

    def make_protocol(_: Connection) -> asyncio.Protocol:
        made.set()
        return asyncio.Protocol()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listener = Mock(wraps=listening)
        failures = iter([OSError(errno.EMFILE, "Too many open files")] * 3)
        listener.accept.side_effect = lambda: _raise_next(failures) or listening.accept()
        acceptor = Acceptor(
            listener, Connections(max_total=8), make_protocol=make_protocol, refusal=b""
        )
        acceptor.start()
        with socket.create_connection(listening.getsockname()):
            await asyncio.wait_for(made.wait(), 20)
        acceptor.close()
    tried = [record for record in caplog.records if record.levelno == logging.WARNING]
    # Each attempt is made once, and not as often as the loop turns.
    assert len(tried) == 3


def _raise_next(failures: object) -> None:
    for failure in failures:  # type: ignore[attr-defined]  # an iterator
        raise failure


def test_few_descriptors_and_many_half_requests_leave_the_server_alive(tmp_path: Path) -> None:
    command = "serve", "--only", "ai"
    with running_server_command(
        tmp_path / "home", *command, settings={"AI_KEY": KEY}, max_files=200
    ) as served:
        address = urlsplit(served.url)
        with contextlib.ExitStack() as stack:
            for _ in range(_OPENED):
                client = socket.create_connection((address.hostname, address.port))
                stack.enter_context(client)
                client.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n")

            def is_ready() -> bool:
                return httpx2.get(f"{served.url}/readyz", timeout=60).status_code == 200

            # A connection that is still being set up cannot be ended for another.
            wait_until(is_ready, "the server answers beside the half requests")
            assert all(is_ready() for _ in range(5))
        assert served.stop() == 0
    assert len(served.printed()) < 10
