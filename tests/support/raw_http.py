"""HTTP by hand, for requests that no well-behaved client sends, and a look at what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from automatch.photos.store import MARK
from tests.support.system import System

BOUNDARY = "a-boundary"
_PATIENCE_S = 60
_TABLES = ("auth.users", "public.faces", "public.match_jobs", "public.matches")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of the error that was told."""
        return str(json.loads(self.body)["error"]["code"])


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """Read one answer that tells its length."""
        async with asyncio.timeout(_PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.strip().split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
            }
            length = headers.get("content-length")
            body = await (self.reader.readexactly(int(length)) if length else self.reader.read())
        return Answer(int(status.split(" ")[1]), headers, body)

    async def rest(self) -> bytes:
        """Return what else comes until the server closes the connection."""
        async with asyncio.timeout(_PATIENCE_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@asynccontextmanager
async def wire(system: System) -> AsyncIterator[Wire]:
    """Connect to the server."""
    async with wire_to(system.url) as connection:
        yield connection


@asynccontextmanager
async def wire_to(url: str, first: bytes = b"") -> AsyncIterator[Wire]:
    """Connect to the server with this address, which is to find *first* when it accepts."""
    address = urlsplit(url)
    if first:
        # Blocking, so that a server of this event loop cannot accept it before.
        connected = socket.create_connection((address.hostname, address.port))
        connected.sendall(first)
        connected.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connected)
    else:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def head(method: str, path: str, *lines: str, token: str | None = None) -> bytes:
    """Return a request up to the empty line, with *lines* as its headers."""
    authorization = [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: localhost", *authorization, *lines, "", ""]
    ).encode("latin-1")


def upload_head(token: str | None, *lines: str, path: str = "/api/faces") -> bytes:
    """Return the head of an upload whose parts are separated by `BOUNDARY`."""
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    return head("POST", path, kind, *lines, token=token)


def part(disposition: str | bytes, content: bytes, *lines: str) -> bytes:
    """Return one part of a form."""
    if isinstance(disposition, str):
        disposition = disposition.encode()
    more = "".join(f"{line}\r\n" for line in lines).encode()
    opening = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
    return opening + disposition + b"\r\n" + more + b"\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """Return a whole form."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def post_form(
    system: System, token: str, body: bytes, *, kind: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Upload *body* as it is."""
    answer = await system.client.post(
        "/api/faces",
        headers={
            "authorization": f"Bearer {token}",
            "content-type": kind or f"multipart/form-data; boundary={BOUNDARY}",
        },
        content=body,
    )
    return answer.status_code, answer.json()


@dataclass(frozen=True)
class Traces:
    """Rows and files that requests have left."""

    rows: tuple[int, ...]
    photos: frozenset[str]
    temporary: frozenset[str]


def traces(system: System) -> Traces:
    """Count what there is now."""
    with psycopg.connect(system.database.owner) as conn:
        rows = tuple(
            row[0]
            for table in _TABLES
            for row in conn.execute(f"select count(*) from {table}").fetchall()  # type: ignore[call-overload]  # a name above
        )
    return Traces(
        rows,
        frozenset(_files(system.settings.home / "photos")) - {MARK},
        frozenset(_spooled(Path(tempfile.gettempdir()).iterdir())),
    )


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def _spooled(paths: Iterable[Path]) -> list[str]:
    # tests/conftest.py gives the names of each process a prefix of their own.
    prefix = tempfile.gettempprefix()
    return [path.name for path in paths if path.name.startswith(prefix) and path.is_file()]
