"""How uvicorn serves the application, and where its websockets end."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_GRACE_S = 10
_MAX_MESSAGE_BYTES = 64 * 1024
_GOODBYE_S = 15.0
"""After its handler has ended, a websocket may take so long for the closing handshake."""


class _Websocket(WebSocketsSansIOProtocol):
    """uvicorn's websocket, which ends even when the other side does not read."""

    async def run_asgi(self) -> None:
        await super().run_asgi()
        # Closing waits until what was written is sent, which a peer can put off for ever.
        self.loop.call_later(_GOODBYE_S, self.transport.abort)


def make_config(app: FastAPI) -> uvicorn.Config:
    """Return the configuration of the web server."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        lifespan="on",
        ws=_Websocket,
        ws_max_size=_MAX_MESSAGE_BYTES,
        # Messages are short, and a few bytes can be made to unpack to many.
        ws_per_message_deflate=False,
    )
