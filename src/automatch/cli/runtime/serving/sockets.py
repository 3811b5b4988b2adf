"""Sockets that listen; importing this loads nothing that serves."""

from __future__ import annotations

import socket

from automatch.errors.configuration import SettingsError
from automatch.settings import Settings


def open_socket(
    settings: Settings,
    *,
    host: str | None = None,
    port: int | None = None,
    setting: str = "--port or AUTOMATCH_PORT",
) -> socket.socket:
    """Return a socket that listens on host and port of *settings*, or on *host* and *port*.

    *setting* is what an operator changes to choose another port.

    Raises:
        SettingsError: the address is in use, or not one of this machine's.
    """
    host = settings.host if host is None else host
    port = settings.port if port is None else port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only for sockets that
    # name it; otherwise every answer waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as exc:
        listener.close()
        raise SettingsError(
            f"Cannot listen on {host} port {port} ({exc.strerror}); choose another with {setting}."
        ) from exc
    return listener


def open_health_socket(settings: Settings, port: int) -> socket.socket:
    """Return the socket of a worker's health checks; it raises what `open_socket` does."""
    return open_socket(settings, port=port, setting="AUTOMATCH_WORKER__HEALTH_PORT")


SERVER_PORT = "AUTOMATCH_METRICS__PORT"
WORKER_PORT = "AUTOMATCH_METRICS__WORKER_PORT"


def open_metrics_socket(settings: Settings, port: int, *, setting: str) -> socket.socket:
    """Return the socket of `/metrics`: without a token nobody but this machine reaches it."""
    host = "127.0.0.1" if settings.metrics.token is None else None
    return open_socket(settings, host=host, port=port, setting=setting)
