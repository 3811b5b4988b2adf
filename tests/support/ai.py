"""An AI service on a free port, and the analyzer that uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from pydantic import SecretStr

from automatch.app import create_ai_app
from automatch.settings import Settings
from automatch.settings.vision import AiSettings
from automatch.vision import Embedder, RemoteAnalyzer
from tests.support.system import served

KEY = "a-key-of-an-ai-service-and-nothing-else"
HEADERS = {"authorization": f"Bearer {KEY}"}


@asynccontextmanager
async def running_ai(
    settings: Settings, embedder: Embedder, port: int = 0
) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve the AI service alone; give a client that shows its key."""
    settings = settings.model_copy(update={"ai_key": SecretStr(KEY)})
    app = create_ai_app(settings, None, embedder=embedder)
    async with (
        served(app, settings, port) as url,
        httpx2.AsyncClient(base_url=url, headers=HEADERS, timeout=60) as client,
    ):
        yield client


def using(url: str, settings: Settings, **ai: float) -> Settings:
    """Return settings of a worker that uses the service at *url*."""
    return settings.model_copy(
        update={"ai_url": url, "ai_key": SecretStr(KEY), "ai": AiSettings(**ai)}  # type: ignore[arg-type]  # numbers
    )


def remote_analyzer(
    url: str, settings: Settings, model_id: str = "dlib", **ai: float
) -> RemoteAnalyzer:
    """Return an analyzer that uses the service at *url*."""
    return RemoteAnalyzer(using(url, settings, **ai), model_id=model_id, key=lambda: KEY)
