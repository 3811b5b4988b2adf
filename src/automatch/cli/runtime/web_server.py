"""The web server: its socket, uvicorn with our shutdown, and the cron runner beside it.

`_WebSocket` is the one place where internals of uvicorn are used; pyproject.toml therefore allows
one minor version, and tests/cli/runtime/test_web_server.py fails when another is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator, Sequence

import structlog
import typer
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from automatch.cli.runtime.signals import Shutdown
from automatch.errors.configuration import SettingsError
from automatch.postgres.addresses import database_address
from automatch.settings import Settings
from automatch.settings.secrets import Secrets
from automatch.supabase_compat.cron_runner import CronRunner

_GRACE_S = 10
_MAX_MESSAGE_BYTES = 64 * 1024
_CLOSE_TIMEOUT_S = 15.0
"""How long the closing handshake of a websocket may take after its handler has ended."""

log = structlog.get_logger(__name__)


def open_socket(settings: Settings) -> socket.socket:
    """Return a socket that listens on the host and port of *settings*.

    Raises:
        SettingsError: the address is in use, or not one of this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only for sockets that
    # name it; otherwise every answer waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except OSError as exc:
        listener.close()
        raise SettingsError(
            f"Cannot listen on {settings.host} port {settings.port} ({exc.strerror}); "
            "choose another with --port or AUTOMATCH_PORT."
        ) from exc
    return listener


async def serve_app(
    settings: Settings,
    app: FastAPI,
    listener: socket.socket,
    shutdown: Shutdown,
    ready_lines: Sequence[str] = (),
) -> None:
    """Serve *app* until a shutdown is requested; print its address and *ready_lines* when ready."""
    address = settings.server_url(listener.getsockname()[1])
    server = _Server(
        uvicorn_config(app),
        on_started=lambda: typer.echo("\n".join([f"Auto-Match is ready: {address}", *ready_lines])),
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    requested = asyncio.create_task(shutdown.requested.wait())
    await asyncio.wait({serving, requested}, return_when=asyncio.FIRST_COMPLETED)
    requested.cancel()
    if hasattr(app.state, "services"):
        # Feed streams never end by themselves, and the server would wait for them.
        app.state.services.notifier.close()
    server.should_exit = True
    await shutdown.wait_for(serving, server.force)


def make_cron_runner(settings: Settings, secrets: Secrets, listener: socket.socket) -> CronRunner:
    """Return what runs the cron jobs of the database, unless another server does."""
    port = listener.getsockname()[1]
    return CronRunner(
        database_address(settings, secrets, "owner"),
        local_url=settings.local_url(port),
        public_url=settings.public_url,
        net_origins=settings.allowed_net_origins(port),
    )


def uvicorn_config(app: FastAPI) -> uvicorn.Config:
    """Return how uvicorn serves *app*."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        lifespan="on",
        ws=_WebSocket,
        ws_max_size=_MAX_MESSAGE_BYTES,
        # Our messages are short, and a few compressed bytes can expand to many.
        ws_per_message_deflate=False,
    )


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, which reports when it accepts requests."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave SIGINT and SIGTERM to `handle_signals`: we decide the order of the shutdown."""
        yield

    def force(self) -> None:
        """Cut off the requests that are still being answered."""
        self.force_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then call `on_started`."""
        await super().startup(sockets)
        if self.started:
            self._on_started()


class _WebSocket(WebSocketsSansIOProtocol):
    """uvicorn's websocket, which is closed even when the client does not read."""

    async def run_asgi(self) -> None:
        await super().run_asgi()
        # Closing waits until everything written is sent, which a client can delay for ever.
        self.loop.call_later(_CLOSE_TIMEOUT_S, self.transport.abort)
