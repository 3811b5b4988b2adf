"""Where looking at photos leaves the event loop, and the models and decoders that it takes.

This is the one place where CPU work leaves the event loop: each of a few threads has a `Pipeline`
and a decoder (a child process of its own), and takes one photo at a time.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

import numpy as np

from automatch.vision.decode.decoder import Decoder
from automatch.vision.detect.hog_detector import HogDetector
from automatch.vision.detect.yunet_detector import YunetDetector
from automatch.vision.embed.alignment import check_fit
from automatch.vision.embed.open_embedder import open_embedder
from automatch.vision.pipeline import Pipeline, embed

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from automatch.model.faces import FaceBox
    from automatch.settings import Settings
    from automatch.settings.vision import VisionSettings
    from automatch.vision.detect.detector import Detector
    from automatch.vision.embed.embedder import Embedder
    from automatch.vision.results import FaceExtraction, PhotoAnalysis


def open_detector(vision: VisionSettings) -> Detector:
    """Return the detector that *vision* asks for, its model loaded.

    Raises:
        ModelMissingError: a model file is not there.
        ModelDamagedError: a model file is not the one it should be.
    """
    if vision.yunet_file:
        return YunetDetector(vision.yunet_file, vision.detect_side, vision.yunet_min_confidence)
    return HogDetector(vision.detect_side, vision.hog_min_confidence)


class LocalAnalyzer:
    """Looks at photos, `settings.vision.threads` of them side by side.

    Use it as an asynchronous context manager: entering loads the models, leaving ends what runs.
    All of that releases the GIL, so the event loop goes on meanwhile.

    They know one model from the start and open others of the registry when they are asked for, so
    that the model can change without a restart.
    """

    def __init__(self, settings: Settings, embedder: Embedder) -> None:
        """Load nothing yet; *embedder* must bear calls from several threads."""
        self._settings = settings
        self._embedder = embedder
        self._embedders = {embedder.model_id: embedder}
        self._loading_embedder = threading.Lock()
        self._pool = ThreadPoolExecutor(settings.vision.threads, thread_name_prefix="analyzer")
        self._of_thread = threading.local()
        self._opening = threading.Lock()
        self._closed = False
        self._decoders: list[Decoder] = []
        self._detector: Detector | None = None

    @property
    def model_id(self) -> str:
        """The model whose embeddings `look` gives, and `see` unless told otherwise."""
        return self._embedder.model_id

    @property
    def dimensions(self) -> int:
        """How many numbers an embedding has."""
        return self._embedder.dimensions

    @property
    def is_ready(self) -> bool:
        """Whether it is any use to ask now: always, once entered."""
        return True

    async def ready(self) -> None:
        """Return at once; see `FaceAnalyzer`."""

    def open(self) -> None:
        """Load the models and try the embedder once, as entering does; for use without asyncio.

        Raises: see `__aenter__`.
        """
        try:
            self._pool.submit(self._load).result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the decoders and wait for the threads; photos that still wait are dropped."""
        with self._opening:
            self._closed = True
            decoders = list(self._decoders)
        for decoder in decoders:
            decoder.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def __aenter__(self) -> Self:
        """Load the models and try the embedder once.

        Raises:
            ModelMissingError: a model file is not there.
            ModelDamagedError: a model file is not the one it should be.
            ModelUnfitError: the detector does not give what the embedder needs.
            EmbeddingInvalidError: the embedder does not keep its promise.
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
        """End the decoders and wait for the threads; photos that still wait are dropped."""
        await self._close()

    async def analyze(self, photo: bytes, chosen: FaceBox | None = None) -> PhotoAnalysis:
        """Return every face of an encoded photo, each with its figures and what is wrong with it.

        With a *chosen* face the copies show no other. Cancelling is as in `see`.

        Raises:
            UploadError: there are no bytes, or no photo of a supported type.
            PhotoRejectedError: the photo is damaged or outside a limit.
            JobCrashedError: the decoder died; another try may work.
            EmbedderError: the model gave no usable embedding.
        """
        return await asyncio.wrap_future(self.submit(photo, chosen))

    def submit(self, photo: bytes, chosen: FaceBox | None = None) -> Future[PhotoAnalysis]:
        """Return the promise of what `look` gives; for use without asyncio."""
        return self._pool.submit(self._analyze, photo, chosen)

    async def extract(
        self,
        photo: bytes,
        chosen: FaceBox | None = None,
        *,
        model: str | None = None,
        enforce_quality: bool = True,
    ) -> FaceExtraction:
        """Return what an encoded photo shows: its one face, or the *chosen* one of several.

        Args:
            photo: an upload or a kept copy.
            chosen: which face its owner said is theirs.
            model: with which to embed the face, if not with `model_id`.
            enforce_quality: whether a face that is too dark, blurred or the like is refused.
                A copy that is compressed again may fail a check that the upload passed.

        Cancelling stops the waiting. A photo that a thread has begun is finished there unheard,
        within the decoder's time limit, and holds up nothing but that thread.

        Raises:
            UploadError: there are no bytes, or no photo of a supported type.
            PhotoRejectedError: the photo is damaged, outside a limit, or not of one clear face. A
                SeveralFacesError carries the clean copies, to ask with.
            JobCrashedError: the decoder died; another try may work.
            EmbedderError: the model gave no usable embedding.
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
        self._try(self._embedder)

    def _load_embedder(self, model: str) -> Embedder:
        with self._loading_embedder:
            if model not in self._embedders:
                embedder = open_embedder(model, self._settings.home)
                self._try(embedder)
                self._embedders[model] = embedder
            return self._embedders[model]

    def _try(self, embedder: Embedder) -> None:
        check_fit(embedder, self._opened_detector())
        side = embedder.chip_side
        embed(embedder, np.full((1, side, side, 3), 128, np.uint8))

    def _extract(
        self, photo: bytes, chosen: FaceBox | None, embedder: Embedder, enforce_quality: bool
    ) -> FaceExtraction:
        return self._pipeline(embedder).extract(photo, chosen, enforce_quality=enforce_quality)

    def _analyze(self, photo: bytes, chosen: FaceBox | None) -> PhotoAnalysis:
        return self._pipeline(self._embedder).analyze(photo, chosen)

    def _pipeline(self, embedder: Embedder) -> Pipeline:
        detector = self._opened_detector()
        return Pipeline(self._decoder(), detector, embedder, self._settings.vision)

    def _opened_detector(self) -> Detector:
        if self._detector is None:
            raise RuntimeError("LocalAnalyzer must be entered with `async with` first")
        return self._detector

    def _decoder(self) -> Decoder:
        decoder: Decoder | None = getattr(self._of_thread, "decoder", None)
        if decoder is None:
            decoder = Decoder(self._settings)
            self._of_thread.decoder = decoder
            with self._opening:
                self._decoders.append(decoder)
                if self._closed:
                    decoder.close()
        return decoder

    async def _close(self) -> None:
        # A cancelled `async with` must still leave no child behind.
        await asyncio.shield(asyncio.to_thread(self.close))
