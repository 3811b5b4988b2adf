"""A network that misbehaves: a TCP proxy in front of the socket of an embedded Postgres.

It understands as much of the protocol as it takes to know which statement an answer belongs to.
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
class _Dialogue:
    """What one client has asked and not had an answer to."""

    statements: dict[bytes, str] = field(default_factory=dict)
    portals: dict[bytes, str] = field(default_factory=dict)
    asked: deque[str] = field(default_factory=deque)

    def ask(self, kind: bytes, body: bytes) -> None:
        if kind == _PARSE:
            name, query, *_ = body.split(b"\0", 2)
            self.statements[name] = query.decode()
        elif kind == _BIND:
            portal, name, *_ = body.split(b"\0", 2)
            self.portals[portal] = self.statements.get(name, "")
        elif kind == _EXECUTE:
            self.asked.append(self.portals.get(body.split(b"\0", 1)[0], ""))
        elif kind == _QUERY:
            self.asked.append(body.rstrip(b"\0").decode())


class Proxy:
    """Passes bytes on, unless told otherwise; the switches may be turned at any time."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._lines: set[_Line] = set()
        self.delay_s = 0.0
        self.piece: int | None = None
        """So many bytes at a time, each a packet of its own."""
        self.swallows_notifications = False
        self.cuts_before_answer_to: Callable[[str], bool] = lambda _: False
        """Given a statement that Postgres has just done: whether its answer gets lost."""
        self.cuts = 0
        self.swallowed = 0
        self.port = 0
        self.loop = asyncio.new_event_loop()

    def cut(self) -> None:
        """End all connections, without a word."""
        self._call(lambda: [line.abort() for line in list(self._lines)])

    def black_hole(self) -> int:
        """From now on nothing comes through on the connections there are; their number."""
        lines = list(self._lines)
        for line in lines:
            line.is_dead = True
        return len(lines)

    def _call(self, what: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(what)

    async def serve(self, ready: threading.Event, stopped: asyncio.Event) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopped.wait()
        server.close()
        for line in list(self._lines):
            line.abort()
        # Lines end by their own handlers, which have to run once more.
        while self._lines:
            await asyncio.sleep(0.01)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(self, writer)
        self._lines.add(line)
        try:
            up_reader, line.up = await asyncio.open_unix_connection(str(self._server))
            async with asyncio.TaskGroup() as group:
                group.create_task(line.carry_questions(reader))
                group.create_task(line.carry_answers(up_reader))
        except* (OSError, asyncio.IncompleteReadError, _Cut):
            pass
        finally:
            line.abort()
            self._lines.discard(line)


class _Cut(Exception):  # noqa: N818  an event, not an error
    pass


class _Line:
    """One client and its connection to the server."""

    def __init__(self, proxy: Proxy, down: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.down = down
        self.up: asyncio.StreamWriter | None = None
        self.is_dead = False
        self._dialogue = _Dialogue()

    def abort(self) -> None:
        for writer in (self.down, self.up):
            if writer is not None:
                writer.transport.abort()

    async def carry_questions(self, reader: asyncio.StreamReader) -> None:
        assert self.up is not None
        is_started = False
        while True:
            kind = await reader.readexactly(1) if is_started else b""
            length = await reader.readexactly(4)
            body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
            if is_started:
                self._dialogue.ask(kind, body)
            is_started = is_started or struct.unpack("!I", body[:4])[0] not in _NOT_A_MESSAGE
            await self._pass_on(self.up, kind + length + body)

    async def carry_answers(self, reader: asyncio.StreamReader) -> None:
        while True:
            kind = await reader.readexactly(1)
            length = await reader.readexactly(4)
            body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
            if kind == _NOTIFICATION and self.proxy.swallows_notifications:
                self.proxy.swallowed += 1
                continue
            if kind in {_DONE, _EMPTY} and self._dialogue.asked:
                self._end_if_told(self._dialogue.asked.popleft())
            elif kind == _ERROR:
                # Whatever was sent along with the statement that failed is left out.
                self._dialogue.asked.clear()
            await self._pass_on(self.down, kind + length + body)

    def _end_if_told(self, done: str) -> None:
        if self.proxy.cuts_before_answer_to(done):
            self.proxy.cuts += 1
            raise _Cut

    async def _pass_on(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self.is_dead:
            return
        if self.proxy.delay_s:
            await asyncio.sleep(self.proxy.delay_s)
        step = self.proxy.piece or len(data)
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
        assert ready.wait(10)
        login = f"{parts['user']}:{quote(str(parts['password']), safe='')}"
        yield (
            proxy,
            f"postgresql://{login}@127.0.0.1:{proxy.port}/{parts['dbname']}"
            "?sslmode=disable&gssencmode=disable",
        )
    finally:
        proxy.loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
        proxy.loop.close()
