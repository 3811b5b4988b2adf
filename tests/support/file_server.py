"""A web server on this machine that hands out a file as badly as it is told, and a proxy."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class FileServer:
    """What is handed out, and what was asked for."""

    data: bytes
    port: int = 0
    cut_after: int | None = None
    """Hang up after so many bytes of an answer, as often as `cuts` says."""
    cuts: int = 0
    ranges: bool = True
    redirect: str | None = None
    status: int = 200
    wrong_range: bool = False
    asked: list[str] = field(default_factory=list)
    """The `Range` of each request, or its absence."""
    hosts: list[str] = field(default_factory=list)
    proxied: list[str] = field(default_factory=list)
    """Requests that came as to a proxy: their first lines."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/model.onnx"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: FileServer

    def do_CONNECT(self) -> None:
        self.told.proxied.append(self.requestline)
        self.send_error(403)

    def do_GET(self) -> None:
        told = self.told
        if urlsplit(self.path).netloc:
            told.proxied.append(self.requestline)
        told.asked.append(self.headers.get("range", ""))
        told.hosts.append(self.headers["host"])
        if told.redirect is not None and "moved" not in self.path:
            self.send_response(302)
            self.send_header("location", told.redirect)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if told.status != 200:
            self.send_error(told.status)
            return
        start = self._start()
        if start >= len(told.data) and start:
            self.send_error(416)
            return
        body = told.data[start:]
        self.send_response(206 if start else 200)
        if start:
            shown = start + 1 if told.wrong_range else start
            last = len(told.data) - 1
            self.send_header("content-range", f"bytes {shown}-{last}/{len(told.data)}")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if told.cuts and told.cut_after is not None:
            told.cuts -= 1
            self.wfile.write(body[: told.cut_after])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _start(self) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(found[1]) if found and self.told.ranges else 0

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: whoever refuses what comes hangs up."""


@contextmanager
def file_server(data: bytes) -> Iterator[FileServer]:
    """Serve *data* until left."""
    told = FileServer(data)
    handler = type("Handler", (_Handler,), {"told": told})
    with _Server(("127.0.0.1", 0), handler) as server:
        told.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
