"""A faulty network: a TCP proxy in front of the socket of an embedded Postgres.

It parses enough of the protocol to know which statement a response belongs to.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

_CHUNK = 65536
_PARSE, _BIND, _EXECUTE, _QUERY = b"P", b"B", b"E", b"Q"
_DONE, _EMPTY, _ERROR, _NOTIFICATION = b"C", b"I", b"E", b"A"
_NOT_A_MESSAGE = {80877103, 80877104}
"""Requests for TLS and GSS, which the server answers with one byte."""


@dataclass
class _PendingStatements:
    """The statements of one client that have no response yet."""

    statements: dict[bytes, str] = field(default_factory=dict)
    portals: dict[bytes, str] = field(default_factory=dict)
    unanswered: deque[str] = field(default_factory=deque)

    def add(self, kind: bytes, body: bytes) -> None:
        if kind == _PARSE:
            name, query, *_ = body.split(b"\0", 2)
            self.statements[name] = query.decode()
        elif kind == _BIND:
            portal, name, *_ = body.split(b"\0", 2)
            self.portals[portal] = self.statements.get(name, "")
        elif kind == _EXECUTE:
            self.unanswered.append(self.portals.get(body.split(b"\0", 1)[0], ""))
        elif kind == _QUERY:
            # Each of several statements is answered by itself; the first stands for all of them.
            whole = body.rstrip(b"\0").decode()
            _, *others = whole.split(";")
            self.unanswered += [whole, *others]


class Proxy:
    """Forwards all data, except as its attributes say; they may be set at any time."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._connections: set[_Connection] = set()
        self.delay_s = 0.0
        self.chunk_bytes: int | None = None
        """Bytes per packet; None forwards data as it comes."""
        self.drops_notifications = False
        self.drops_all_data = False
        """Of new connections too, until the end."""
        self.dropped_packets = 0
        self.disconnect_before_response_to: Callable[[str], bool] = lambda _: False
        """Called with each executed statement: whether to disconnect before its response."""
        self.disconnects = 0
        self.dropped_notifications = 0
        self.port = 0
        self.loop = asyncio.new_event_loop()

    def disconnect_all(self) -> None:
        """Abort all connections."""
        self._call(lambda: [connection.abort() for connection in list(self._connections)])

    def drop_all_data(self) -> int:
        """Drop all further data of the open connections; return how many there are."""
        connections = list(self._connections)
        for connection in connections:
            connection.drops_data = True
        return len(connections)

    def _call(self, function: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(function)

    async def serve(self, ready: threading.Event, stopped: asyncio.Event) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopped.wait()
        server.close()
        # Their handlers have to run once more to end, and one may only now begin.
        while self._connections:
            for connection in list(self._connections):
                connection.abort()
            await asyncio.sleep(0.01)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, writer)
        self._connections.add(connection)
        try:
            up_reader, connection.up = await asyncio.open_unix_connection(str(self._server))
            async with asyncio.TaskGroup() as group:
                group.create_task(connection.forward_requests(reader))
                group.create_task(connection.forward_responses(up_reader))
        except* (OSError, asyncio.IncompleteReadError, _Disconnect):
            pass
        finally:
            connection.abort()
            self._connections.discard(connection)


class _Disconnect(Exception):  # noqa: N818  an event, not an error
    pass


class _Connection:
    """One client and its connection to the server."""

    def __init__(self, proxy: Proxy, down: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.down = down
        self.up: asyncio.StreamWriter | None = None
        self.drops_data = False
        self._pending = _PendingStatements()

    def abort(self) -> None:
        for writer in (self.down, self.up):
            if writer is not None:
                writer.transport.abort()

    async def forward_requests(self, reader: asyncio.StreamReader) -> None:
        assert self.up is not None
        is_started = False
        while True:
            kind = await reader.readexactly(1) if is_started else b""
            length = await reader.readexactly(4)
            body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
            if is_started:
                self._pending.add(kind, body)
            is_started = is_started or struct.unpack("!I", body[:4])[0] not in _NOT_A_MESSAGE
            await self._forward(self.up, kind + length + body)

    async def forward_responses(self, reader: asyncio.StreamReader) -> None:
        while True:
            kind = await reader.readexactly(1)
            length = await reader.readexactly(4)
            body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
            if kind == _NOTIFICATION and self.proxy.drops_notifications:
                self.proxy.dropped_notifications += 1
                continue
            if kind in {_DONE, _EMPTY} and self._pending.unanswered:
                self._disconnect_if_asked(self._pending.unanswered.popleft())
            elif kind == _ERROR:
                # Postgres skips the statements that were sent along with the failed one.
                self._pending.unanswered.clear()
            await self._forward(self.down, kind + length + body)

    def _disconnect_if_asked(self, done: str) -> None:
        if self.proxy.disconnect_before_response_to(done):
            self.proxy.disconnects += 1
            raise _Disconnect

    async def _forward(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self.drops_data or self.proxy.drops_all_data:
            self.proxy.dropped_packets += 1
            return
        if self.proxy.delay_s:
            await asyncio.sleep(self.proxy.delay_s)
        step = self.proxy.chunk_bytes or len(data)
        for start in range(0, len(data), step):
            writer.write(data[start : start + step])
            await writer.drain()


@contextmanager
def proxy_to(dsn: str) -> Iterator[tuple[Proxy, str]]:
    """Give a proxy in front of a database, and the address of the database behind it."""
    parts = conninfo_to_dict(dsn)
    proxy = Proxy(Path(str(parts["host"])) / f".s.PGSQL.{parts['port']}")
    ready = threading.Event()
    stopped = asyncio.Event()
    thread = threading.Thread(
        target=proxy.loop.run_until_complete, args=(proxy.serve(ready, stopped),)
    )
    thread.start()
    try:
        assert ready.wait(60)
        login = f"{parts['user']}:{quote(str(parts['password']), safe='')}"
        yield (
            proxy,
            f"postgresql://{login}@127.0.0.1:{proxy.port}/{parts['dbname']}"
            "?sslmode=disable&gssencmode=disable",
        )
    finally:
        proxy.loop.call_soon_threadsafe(stopped.set)
        thread.join(60)
        proxy.loop.close()
