"""Face analyzers: what every one offers, and the one that works in this process.

CPU work leaves the event loop here and nowhere else: each of a few threads borrows a decoder (a
child process) and analyzes one photo at a time. `remote_analyzer.py` asks an AI service
instead.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from PIL import Image

from automatch.errors import AutomatchError
from automatch.settings import load_settings
from automatch.vision.decode.decoder import Decoder
from automatch.vision.detect.photo_copies import kept_copy, thumbnail
from automatch.vision.embed.dlib_embedder import DlibEmbedder
from automatch.vision.load import check_compatible, open_detector, open_embedder
from automatch.vision.pipeline import Pipeline, embed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from types import TracebackType

    from automatch.model.faces import FaceBox
    from automatch.settings import Settings
    from automatch.vision.detect.detector import Detector
    from automatch.vision.embed.embedder import Embedder
    from automatch.vision.results import FaceExtraction, PhotoAnalysis


class FaceAnalyzer(Protocol):
    """Extracts faces from photos, here (`LocalAnalyzer`) or by an AI service (`RemoteAnalyzer`)."""

    @property
    def model_id(self) -> str:
        """The model of the embeddings that `extract` returns by default."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether a call would be served now."""
        ...

    async def ready(self) -> None:
        """Wait until `is_ready`."""
        ...

    async def extract(
        self,
        photo: bytes,
        chosen: FaceBox | None = None,
        *,
        model: str | None = None,
        enforce_quality: bool = True,
    ) -> FaceExtraction:
        """Return the one face of an encoded photo, or the *chosen* one of several.

        Args:
            photo: an upload or a kept copy.
            chosen: the face that the uploader marked as their own.
            model: the model for the embedding, if not `model_id`.
            enforce_quality: whether a face that is too dark, blurred or the like is refused.
                A copy that is compressed again may fail a check that the upload passed.

        Raises:
            UploadError: there are no bytes, or no photo of a supported type.
            PhotoRejectedError: the photo is damaged, outside a limit, or not of one clear face. A
                SeveralFacesError carries the clean copies, to ask the uploader with.
            JobCrashedError: the decoder died; another try may work.
            EmbedderError: the model gave no usable embedding.
            AiUnavailableError: the AI service does not answer, or runs another model.
        """
        ...


class LocalAnalyzer:
    """Analyzes up to `settings.vision.threads` photos at a time; satisfies `FaceAnalyzer`.

    Use it as an asynchronous context manager: entering loads the models, leaving ends all work.
    Decoding, detection and embedding release the GIL, so the event loop goes on meanwhile.

    Other models of the registry are loaded when a call names them, so that the model can change
    without a restart.
    """

    def __init__(self, settings: Settings, embedder: Embedder) -> None:
        """Load nothing yet; several threads will call *embedder*."""
        self._settings = settings
        self._embedder = embedder
        self._embedders = {embedder.model_id: embedder}
        self._embedders_lock = threading.Lock()
        self._pool = ThreadPoolExecutor(settings.vision.threads, thread_name_prefix="analyzer")
        self._decoders_lock = threading.Lock()
        self._closed = False
        self._decoders: list[Decoder] = []
        self._idle_decoders: list[Decoder] = []
        self._detector: Detector | None = None

    @property
    def model_id(self) -> str:
        """The model of `analyze`, and of `extract` by default."""
        return self._embedder.model_id

    @property
    def dimensions(self) -> int:
        """Length of an embedding."""
        return self._embedder.dimensions

    @property
    def is_ready(self) -> bool:
        """Always true: entering has loaded the models."""
        return True

    async def ready(self) -> None:
        """Return at once; see `FaceAnalyzer.ready`."""

    def open(self) -> None:
        """Load the models and raise as `__aenter__` does; for use without asyncio."""
        try:
            self._pool.submit(self._load).result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the decoders and wait for the threads; queued photos are dropped."""
        with self._decoders_lock:
            self._closed = True
            decoders = list(self._decoders)
        for decoder in decoders:
            decoder.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def __aenter__(self) -> Self:
        """Load the models and run them once, so that the first photo takes no longer than others.

        Raises:
            ModelMissingError: a model file is not there.
            ModelDamagedError: a model file is not the one it should be.
            ModelUnfitError: the detector does not find the landmarks that the embedder needs.
            EmbeddingInvalidError: the embedder returns no unit vectors of its dimensions.
        """
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._load)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the decoders and wait for the threads; queued photos are dropped."""
        await self._close()

    async def analyze(self, photo: bytes, chosen: FaceBox | None = None) -> PhotoAnalysis:
        """Return every face of an encoded photo with its quality and the reason to refuse it.

        With a *chosen* face the copies show no other. Cancelling works as in `extract`.

        Raises:
            UploadError: there are no bytes, or no photo of a supported type.
            PhotoRejectedError: the photo is damaged or outside a limit.
            JobCrashedError: the decoder died; another try may work.
            EmbedderError: the model gave no usable embedding.
        """
        return await asyncio.wrap_future(self.submit(photo, chosen))

    def submit(self, photo: bytes, chosen: FaceBox | None = None) -> Future[PhotoAnalysis]:
        """Return the future result of `analyze`; for use without asyncio."""
        return self._pool.submit(self._analyze, photo, chosen)

    async def extract(
        self,
        photo: bytes,
        chosen: FaceBox | None = None,
        *,
        model: str | None = None,
        enforce_quality: bool = True,
    ) -> FaceExtraction:
        """Return the one face of a photo; see `FaceAnalyzer.extract`.

        Cancelling stops the waiting. A thread still finishes the photo that it has begun, within
        the decoder's time limit, and drops the result.
        """
        loop = asyncio.get_running_loop()
        embedder = self._embedders.get(model or self.model_id)
        if embedder is None:
            embedder = await loop.run_in_executor(self._pool, self._load_embedder, model or "")
        return await loop.run_in_executor(
            self._pool, self._extract, photo, chosen, embedder, enforce_quality
        )

    def _load(self) -> None:
        self._detector = open_detector(self._settings.vision)
        self._warm_up(self._embedder)
        side = self._settings.upload.min_side
        grey = Image.new("RGB", (side, side), "grey")
        # A decoder that fails says so for each photo.
        with suppress(AutomatchError), self._decoder() as decoder:
            self._detector.find(decoder.decode(kept_copy(grey)))
        thumbnail(grey, self._settings.vision.thumbnail_side)

    def _load_embedder(self, model: str) -> Embedder:
        with self._embedders_lock:
            if model not in self._embedders:
                embedder = open_embedder(model, self._settings.home)
                self._warm_up(embedder)
                self._embedders[model] = embedder
            return self._embedders[model]

    def _warm_up(self, embedder: Embedder) -> None:
        check_compatible(embedder, self._loaded_detector())
        side = embedder.chip_side
        embed(embedder, np.full((1, side, side, 3), 128, np.uint8))

    def _extract(
        self, photo: bytes, chosen: FaceBox | None, embedder: Embedder, enforce_quality: bool
    ) -> FaceExtraction:
        with self._pipeline(embedder) as pipeline:
            return pipeline.extract(photo, chosen, enforce_quality=enforce_quality)

    def _analyze(self, photo: bytes, chosen: FaceBox | None) -> PhotoAnalysis:
        with self._pipeline(self._embedder) as pipeline:
            return pipeline.analyze(photo, chosen)

    @contextmanager
    def _pipeline(self, embedder: Embedder) -> Iterator[Pipeline]:
        detector = self._loaded_detector()
        with self._decoder() as decoder:
            yield Pipeline(decoder, detector, embedder, self._settings.vision)

    def _loaded_detector(self) -> Detector:
        if self._detector is None:
            raise RuntimeError("LocalAnalyzer must be entered with `async with` first")
        return self._detector

    @contextmanager
    def _decoder(self) -> Iterator[Decoder]:
        """Lend a decoder, which is started only if all others are at work."""
        try:
            decoder = self._idle_decoders.pop()
        except IndexError:
            decoder = Decoder(self._settings)
            with self._decoders_lock:
                self._decoders.append(decoder)
                if self._closed:
                    decoder.close()
        try:
            yield decoder
        finally:
            self._idle_decoders.append(decoder)

    async def _close(self) -> None:
        # Shielded: even a cancelled `async with` must leave no child process behind.
        await asyncio.shield(asyncio.to_thread(self.close))


class SyncAnalyzer:
    """A `LocalAnalyzer` for code without an event loop; any number of threads may call it."""

    def __init__(self, analyzer: LocalAnalyzer) -> None:
        self._analyzer = analyzer

    def analyze(self, photo: bytes | str | Path) -> PhotoAnalysis:
        """Return every face of a photo, given as its bytes or as the path of its file.

        Raises:
            OSError: the file cannot be read.
            UploadError: it is no photo of a supported type.
            PhotoRejectedError: the photo is damaged or outside a limit.
            JobCrashedError: the decoder died; another try may work.
            EmbedderError: the model gave no usable embedding.
        """
        return self.submit(photo).result()

    def submit(self, photo: bytes | str | Path) -> Future[PhotoAnalysis]:
        """Return the future result of `analyze`, to keep all threads busy."""
        data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
        return self._analyzer.submit(data)


@contextmanager
def open_analyzer(settings: Settings | None = None) -> Iterator[SyncAnalyzer]:
    """Yield an analyzer with the default model, open for as long as the block lasts.

    It needs no event loop, server or database.

    Args:
        settings: limits and thresholds; those of the environment when left out.

    Raises:
        ModelMissingError: a model file is not there.
        ModelDamagedError: a model file is not the one it should be.
    """
    settings = settings or load_settings()
    analyzer = LocalAnalyzer(settings, DlibEmbedder(data_dir=settings.home))
    analyzer.open()
    try:
        yield SyncAnalyzer(analyzer)
    finally:
        analyzer.close()
