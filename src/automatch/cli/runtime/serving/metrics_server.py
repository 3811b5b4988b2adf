"""`/metrics` on a port of its own, of a server or a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from automatch.auth.keys import check_metrics_token
from automatch.cli.runtime.serving.http_server import HttpServer
from automatch.cli.runtime.serving.sockets import open_metrics_socket
from automatch.errors.auth import AuthError
from automatch.http.errors import error_response
from automatch.settings import Settings
from automatch.telemetry.metrics import CONTENT_TYPE

_MAX_CONNECTIONS = 16

log = structlog.get_logger(__name__)


class MetricsServer(HttpServer):
    """Answers `/metrics`, to whoever has the token where one is set; nothing else."""

    def __init__(self, read: Callable[[], Awaitable[bytes]], settings: Settings) -> None:
        self._read = read
        self._token = settings.metrics.token
        app = Starlette(routes=[Route("/metrics", self._answer)])
        super().__init__(app, settings, max_connections=_MAX_CONNECTIONS)
        self.config.timeout_graceful_shutdown = 1

    async def _answer(self, request: Request) -> Response:
        if self._token is not None:
            try:
                check_metrics_token(self._token, request.headers)
            except AuthError as exc:
                return error_response(exc)
        return Response(await self._read(), media_type=CONTENT_TYPE)


@asynccontextmanager
async def serving_metrics(
    read: Callable[[], Awaitable[bytes]], settings: Settings, port: int, *, setting: str
) -> AsyncIterator[asyncio.Task[None]]:
    """Answer `/metrics` during the block; the task ends by itself only when something is wrong.

    Raises:
        SettingsError: the port is taken.
    """
    server = MetricsServer(read, settings)
    with open_metrics_socket(settings, port, setting=setting) as listener:
        log.info("serving metrics", port=listener.getsockname()[1], setting=setting)
        task = asyncio.create_task(server.serve(sockets=[listener]), name="metrics")
        try:
            yield task
        finally:
            server.should_exit = True
            await asyncio.wait({task})
