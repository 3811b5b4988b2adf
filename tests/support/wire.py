"""A network cable to a server, which a test can cut without either side being told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Wire:
    """Forwards bytes to a server, or swallows them while it is cut."""

    def __init__(self, server_url: str) -> None:
        parts = urlsplit(server_url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: set[socket.socket] = set()
        self.is_cut = False
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def disconnect_all(self) -> None:
        """End all connections, as a server does that stops."""
        for each in list(self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.disconnect_all()
        # To close it does not wake who waits in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            both = {client, server}
            self._sockets |= both
            back = threading.Thread(target=self._forward, args=(server, client))
            back.start()
            self._forward(client, server)
            back.join()
            self._sockets -= both

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        # What was once cut stays silent: TCP would repeat the bytes, and this does not keep them.
        was_cut = False
        with suppress(OSError):
            while data := source.recv(65536):
                was_cut = was_cut or self.is_cut
                if not was_cut:
                    target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@contextmanager
def wire_to(server_url: str) -> Iterator[Wire]:
    """Give a cable to a server."""
    wire = Wire(server_url)
    try:
        yield wire
    finally:
        wire.close()
