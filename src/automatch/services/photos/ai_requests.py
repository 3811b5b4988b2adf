"""The limit on concurrent requests to the AI service, whose analyzer opens on first use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import structlog

from automatch.errors import AutomatchError
from automatch.errors.embedder import AiBusyError
from automatch.errors.job import JobCrashedError
from automatch.errors.upload import BodyTooLargeError
from automatch.settings import Settings
from automatch.vision import LocalAnalyzer, PhotoAnalysis

log = structlog.get_logger(__name__)


class AiRequestLimiter:
    """The analyzer of one server, and how many requests may use it at once."""

    def __init__(self, settings: Settings, make_analyzer: Callable[[], LocalAnalyzer]) -> None:
        self.settings = settings
        self._make_analyzer = make_analyzer
        self._opening = asyncio.Lock()
        self._analyzer: LocalAnalyzer | None = None
        self._requests = 0

    async def analyzer(self) -> LocalAnalyzer:
        """Return the analyzer; the first to ask waits until the model is loaded.

        Raises:
            EmbedderError: the model cannot be used.
        """
        async with self._opening:
            if self._analyzer is None:
                self._analyzer = await self._make_analyzer().__aenter__()
        return self._analyzer

    async def close(self) -> None:
        """Close the analyzer if it was opened."""
        async with self._opening:
            analyzer, self._analyzer = self._analyzer, None
        if analyzer is not None:
            await analyzer.__aexit__(None, None, None)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[LocalAnalyzer]:
        """Give the analyzer to one request, from before its body is read to its answer.

        Raises:
            AiBusyError: there are as many requests as are answered side by side.
        """
        if self._requests >= self.settings.ai.max_requests:
            raise AiBusyError
        self._requests += 1
        try:
            yield await self.analyzer()
        finally:
            self._requests -= 1

    async def analyze_each(
        self, analyzer: LocalAnalyzer, photos: Iterable[bytes]
    ) -> list[PhotoAnalysis | AutomatchError]:
        """Return the analysis of each photo, or its error: one photo costs the others nothing."""
        return await asyncio.gather(*(self._analyze_one(analyzer, photo) for photo in photos))

    async def _analyze_one(
        self, analyzer: LocalAnalyzer, photo: bytes
    ) -> PhotoAnalysis | AutomatchError:
        if len(photo) > self.settings.upload.max_bytes:
            return BodyTooLargeError()
        try:
            return await analyzer.analyze(photo)
        except AutomatchError as exc:
            return exc
        except Exception as exc:
            # The log keeps the type of the error and its place, never the photo.
            log.exception("photo of a batch crashed", exc_info=exc)
            return JobCrashedError()
