"""What a worker tells of itself over HTTP, where a port is set for that."""

from __future__ import annotations

import socket

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from automatch.cli.runtime.serving.http_server import HttpServer
from automatch.errors.store import StoreError
from automatch.settings import Settings
from automatch.worker.worker import Worker

_MAX_CONNECTIONS = 32


class HealthServer(HttpServer):
    """Answers `/healthz` and `/readyz` in the shapes of the server's; nothing else."""

    def __init__(self, worker: Worker, settings: Settings) -> None:
        self._worker = worker
        app = Starlette(routes=[Route("/healthz", _healthz), Route("/readyz", self._readyz)])
        super().__init__(app, settings, max_connections=_MAX_CONNECTIONS)
        self.config.timeout_graceful_shutdown = 1

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until `should_exit` is set."""
        await self.serve(sockets=[listener])

    async def _readyz(self, _: Request) -> JSONResponse:
        try:
            await self._worker.check_ready()
        except StoreError as exc:
            return JSONResponse({"error": {"code": exc.code, "message": exc.message}}, 503)
        return JSONResponse({"status": "ready"})


async def _healthz(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})
