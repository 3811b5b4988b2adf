"""What a worker tells of itself."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from automatch.cli.runtime.serving.sockets import open_health_socket
from automatch.cli.runtime.serving.worker_health import HealthServer
from automatch.settings import Settings
from tests.support.postgres import Database
from tests.support.worker import run_worker

pytestmark = pytest.mark.anyio


async def test_worker_that_stops_lives_and_is_not_ready(database: Database) -> None:
    async with run_worker(database) as worker:
        server = HealthServer(worker, Settings())
        with open_health_socket(Settings(), 0) as listener:
            serving = asyncio.create_task(server.run_on(listener))
            port = listener.getsockname()[1]
            url = f"http://127.0.0.1:{port}"
            # Requests whose heads never end must not keep others away.
            started = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
            for _, writer in started:
                writer.write(b"GET /healthz HTTP/1.1\r\n")
                await writer.drain()
            async with httpx2.AsyncClient(base_url=url, timeout=60, verify=False) as client:
                ready = await client.get("/readyz")
                worker.stop()
                stopping = await client.get("/readyz")
                alive = await client.get("/healthz")
            server.should_exit = True
            await serving
            for _, writer in started:
                writer.close()

    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert (stopping.status_code, stopping.json()["error"]["code"]) == (503, "not_ready")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
