"""Serves the pages of `tests/support/pages.py` to a browser, with drawn faces as their photos."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from threading import Event, Thread
from urllib.parse import quote, unquote, urlsplit

from markupsafe import escape

from automatch.demo.portraits import PORTRAITS_PER_GENDER, read_portrait
from automatch.http.security_headers import security_headers
from automatch.model.people import Gender
from automatch.settings import Settings
from automatch.web.templating import STATIC_FOLDER
from tests.support.pages import HOSTILE

_NAME = "Linh"
"""What a person would have written, where the tests of templates have something hostile."""


@contextlib.contextmanager
def serving_pages(render: Callable[[str], str | None]) -> Iterator[str]:
    """Give the address of a server; *render* writes the page of a name, None if there is none."""

    is_over = Event()
    on_all = security_headers(Settings())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            kind, body = "text/html; charset=utf-8", b""
            if path.startswith("/static/"):
                file = STATIC_FOLDER.joinpath(*path.split("/")[3:])
                kind, body = guess_type(file)[0] or "", file.read_bytes()
            elif path.startswith("/photos/"):
                number = sum(path.encode()) % PORTRAITS_PER_GENDER
                kind, body = "image/jpeg", read_portrait(Gender.MALE, number)
            elif (page := render(path.removeprefix("/pages/"))) is not None:
                page = page.replace(escape(HOSTILE), _NAME)
                body = page.encode()
            elif path == "/feed/stream":
                kind, body = "text/event-stream", b"event: ready\ndata: {}\n\n"
            self.send_response(200 if body else 404)
            headers = on_all | {"content-type": kind}
            if path.startswith("/static/"):
                headers["cache-control"] = "max-age=3600, immutable"
            for name, value in headers.items():
                self.send_header(name, value)
            if kind != "text/event-stream":
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the browser has gone on
                self.wfile.write(body)
            if kind == "text/event-stream":
                is_over.wait()
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/pages/"
    finally:
        is_over.set()
        server.shutdown()
        server.server_close()


def address_of(base: str, name: str) -> str:
    return base + quote(name, safe="")
