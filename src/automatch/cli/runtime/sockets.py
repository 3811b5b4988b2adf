"""The socket of the web server, taken before anything else starts."""

from __future__ import annotations

import socket

from automatch.errors.configuration import SettingsError
from automatch.settings import Settings


def listen_on(settings: Settings) -> socket.socket:
    """Return a socket that listens on the address that *settings* name.

    Raises:
        SettingsError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only for sockets that
    # name it; otherwise every answer waits 40 ms for the client's delayed acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(2048)
    except OSError as exc:
        listening.close()
        raise SettingsError(
            f"Cannot listen on {settings.host} port {settings.port} ({exc.strerror}); "
            "choose another with --port or AUTOMATCH_PORT."
        ) from exc
    return listening
