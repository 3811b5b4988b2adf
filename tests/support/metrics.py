"""What a server and a worker tell on `/metrics`, as Prometheus reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from automatch.cli.runtime.serving.metrics_server import MetricsServer
from automatch.cli.runtime.serving.sockets import WORKER_PORT, open_metrics_socket
from automatch.settings import Settings

TOKEN = "9f2kQz7vLw1xRb4mTj8sYc3nHd6gPe0a"
WITH_TOKEN = {"authorization": f"Bearer {TOKEN}"}


def parse(answer: httpx2.Response) -> dict[str, Metric]:
    """Return the metrics of an answer by their names."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(metrics: dict[str, Metric], sample: str, **labels: str) -> float:
    """Return the value of the sample with this name and exactly these labels."""
    [found] = [
        each.value
        for family in metrics.values()
        for each in family.samples
        if each.name == sample and each.labels == labels
    ]
    return found


@asynccontextmanager
async def served_metrics(
    read: Callable[[], Awaitable[bytes]], settings: Settings
) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve metrics on a port of their own until left; give a client for it, without a token."""
    server = MetricsServer(read, settings)
    with open_metrics_socket(settings, 0, setting=WORKER_PORT) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx2.AsyncClient(base_url=url, timeout=60, verify=False) as client:
                yield client
        finally:
            server.should_exit = True
            await serving
