"""Where the AI service takes photos in: so many at a time, and the eyes opened when first asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from automatch.errors.embedder import AiBusyError
from automatch.settings import Settings
from automatch.vision import LocalAnalyzer


class AiRequestLimiter:
    """The eyes of one server, and who may use them."""

    def __init__(self, settings: Settings, make_eyes: Callable[[], LocalAnalyzer]) -> None:
        self.settings = settings
        self._make_eyes = make_eyes
        self._opening = asyncio.Lock()
        self._eyes: LocalAnalyzer | None = None
        self._requests = 0

    async def eyes(self) -> LocalAnalyzer:
        """Return the eyes; the first to ask waits until the model is loaded.

        Raises:
            EmbedderError: the model cannot be used.
        """
        async with self._opening:
            if self._eyes is None:
                self._eyes = await self._make_eyes().__aenter__()
        return self._eyes

    async def close(self) -> None:
        """Close the eyes, if they were ever opened."""
        async with self._opening:
            eyes, self._eyes = self._eyes, None
        if eyes is not None:
            await eyes.__aexit__(None, None, None)

    @asynccontextmanager
    async def seat(self) -> AsyncIterator[LocalAnalyzer]:
        """Give the eyes to one request of many, from before its body is read to its answer.

        Raises:
            AiBusyError: there are as many requests as are answered side by side.
        """
        if self._requests >= self.settings.ai.max_requests:
            raise AiBusyError
        self._requests += 1
        try:
            yield await self.eyes()
        finally:
            self._requests -= 1


def ai_requests_of(request: HTTPConnection) -> AiRequestLimiter:
    """Return the ai_requests of the server that received *request*."""
    ai_requests: AiRequestLimiter = request.app.state.ai_requests
    return ai_requests


AiRequestsDep = Annotated[AiRequestLimiter, Depends(ai_requests_of)]
