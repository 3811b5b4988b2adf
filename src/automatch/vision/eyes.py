"""A photo seen from end to end, away from the event loop.

This is the one place where CPU work leaves the event loop: each of a few threads decodes (in a
child process of its own), detects and embeds one photo at a time. `see` is for a photo of one
person and looks at that face only; `look` tells of every face.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

import numpy as np

from automatch.errors import EmbeddingInvalidError, PhotoRejectedError, SeveralFacesError
from automatch.vision.alignment import check_fit, chip_for
from automatch.vision.bystanders import copies_without_others
from automatch.vision.decoder import Decoder
from automatch.vision.embedders import open_embedder
from automatch.vision.hog_detector import HogDetector
from automatch.vision.quality import check_quality, choose_face, measure
from automatch.vision.seen import DetectedFace, JudgedFace, Look, SeenPhoto
from automatch.vision.yunet_detector import YunetDetector

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from types import TracebackType

    import numpy.typing as npt

    from automatch.model import FaceBox
    from automatch.settings import Settings, VisionSettings
    from automatch.vision.decoder import DecodedPhoto
    from automatch.vision.detector import AlignedFace, Detector, Finding
    from automatch.vision.embedder import Embedder


def open_detector(vision: VisionSettings) -> Detector:
    """Return the detector that *vision* asks for, its model loaded.

    Raises:
        ModelMissingError: a model file is not there.
        ModelDamagedError: a model file is not the one it should be.
    """
    if vision.yunet_file:
        return YunetDetector(vision.yunet_file, vision.detect_side, vision.yunet_min_confidence)
    return HogDetector(vision.detect_side, vision.hog_min_confidence)


class Eyes:
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
        self._getting_to_know = threading.Lock()
        self._pool = ThreadPoolExecutor(settings.vision.threads, thread_name_prefix="eyes")
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
        """Return at once; see `Sight`."""

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

    async def look(self, photo: bytes, chosen: FaceBox | None = None) -> Look:
        """Return every face of an encoded photo, each with its figures and what is wrong with it.

        With a *chosen* face the copies show no other. Cancelling is as in `see`.

        Raises:
            UploadError: there are no bytes, or no photo of a supported type.
            PhotoRejectedError: the photo is damaged or outside a limit.
            JobCrashedError: the decoder died; another try may work.
            EmbedderError: the model gave no usable embedding.
        """
        return await asyncio.wrap_future(self.look_soon(photo, chosen))

    def look_soon(self, photo: bytes, chosen: FaceBox | None = None) -> Future[Look]:
        """Return the promise of what `look` gives; for use without asyncio."""
        return self._pool.submit(self._look_at_all, photo, chosen)

    async def see(
        self,
        photo: bytes,
        chosen: FaceBox | None = None,
        *,
        model: str | None = None,
        judged: bool = True,
    ) -> SeenPhoto:
        """Return what an encoded photo shows: its one face, or the *chosen* one of several.

        Args:
            photo: an upload or a kept copy.
            chosen: which face its owner said is theirs.
            model: with which to embed the face, if not with `model_id`.
            judged: whether a face that is too dark, blurred or the like is refused. A photo that
                was judged once need not be good a second time, after another compression.

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
            embedder = await loop.run_in_executor(self._pool, self._get_to_know, model or "")
        return await loop.run_in_executor(self._pool, self._look, photo, chosen, embedder, judged)

    def _load(self) -> None:
        self._detector = open_detector(self._settings.vision)
        self._try(self._embedder)

    def _get_to_know(self, model: str) -> Embedder:
        with self._getting_to_know:
            if model not in self._embedders:
                embedder = open_embedder(model, self._settings.home)
                self._try(embedder)
                self._embedders[model] = embedder
            return self._embedders[model]

    def _try(self, embedder: Embedder) -> None:
        check_fit(embedder, self._opened_detector())
        side = embedder.chip_side
        _embed(embedder, np.full((1, side, side, 3), 128, np.uint8))

    def _look(
        self, photo: bytes, chosen: FaceBox | None, embedder: Embedder, judged: bool
    ) -> SeenPhoto:
        detector = self._opened_detector()
        started = time.perf_counter()
        decoded = self._decoder().decode(photo)
        decoded_at = time.perf_counter()
        findings = detector.find(decoded.pixels)
        try:
            finding = choose_face(findings, detector.min_confidence, decoded.pixels, chosen)
        except SeveralFacesError as exc:
            exc.copies = (decoded.kept_jpeg, decoded.thumbnail_jpeg)
            raise
        aligned = detector.align(decoded.pixels, finding)
        quality = measure(finding, aligned)
        if judged:
            check_quality(quality, self._settings.vision)
        detected_at = time.perf_counter()
        chip = chip_for(embedder, decoded.pixels, aligned)
        (embedding,) = _embed(embedder, chip[np.newaxis])
        embedded_at = time.perf_counter()
        kept, thumbnail = self._copies(decoded, finding if chosen else None, findings)
        return SeenPhoto(
            face=DetectedFace(finding.box, finding.confidence, aligned.landmarks, embedding),
            quality=quality,
            kept_jpeg=kept,
            thumbnail_jpeg=thumbnail,
            timings=_timings(started, decoded_at, detected_at, embedded_at),
        )

    def _look_at_all(self, photo: bytes, chosen: FaceBox | None) -> Look:
        detector = self._opened_detector()
        started = time.perf_counter()
        decoded = self._decoder().decode(photo)
        decoded_at = time.perf_counter()
        findings = detector.find(decoded.pixels)
        own, refusal = None, None
        try:
            own = choose_face(findings, detector.min_confidence, decoded.pixels, chosen)
        except PhotoRejectedError as exc:
            refusal = exc
        found = sorted(findings, key=lambda finding: finding.side, reverse=True)
        aligned = [detector.align(decoded.pixels, finding) for finding in found]
        detected_at = time.perf_counter()
        chips = [chip_for(self._embedder, decoded.pixels, face) for face in aligned]
        rows = _embed(self._embedder, np.stack(chips)) if chips else ()
        embedded_at = time.perf_counter()
        faces = [
            self._judged(finding, face, row, decoded, detector.min_confidence)
            for finding, face, row in zip(found, aligned, rows, strict=True)
        ]
        height, width = decoded.pixels.shape[:2]
        kept, thumbnail = self._copies(decoded, own if chosen else None, findings)
        return Look(
            model_id=self.model_id,
            width=width,
            height=height,
            faces=faces,
            min_confidence=detector.min_confidence,
            refusal=faces[found.index(own)].refusal if own else refusal,
            kept_jpeg=kept,
            thumbnail_jpeg=thumbnail,
            timings=_timings(started, decoded_at, detected_at, embedded_at),
        )

    def _copies(
        self, decoded: DecodedPhoto, own: Finding | None, findings: Sequence[Finding]
    ) -> tuple[bytes, bytes]:
        """Return the clean copy and the thumbnail; with a face of its *own*, without the others."""
        if own is None:
            return decoded.kept_jpeg, decoded.thumbnail_jpeg
        side = self._settings.vision.thumbnail_side
        return copies_without_others(decoded.pixels, own, findings, side)

    def _judged(
        self,
        finding: Finding,
        aligned: AlignedFace,
        embedding: npt.NDArray[np.float32],
        decoded: DecodedPhoto,
        min_confidence: float,
    ) -> JudgedFace:
        quality = measure(finding, aligned)
        refusal = None
        try:
            choose_face([finding], min_confidence, decoded.pixels)
            check_quality(quality, self._settings.vision)
        except PhotoRejectedError as exc:
            refusal = exc
        face = DetectedFace(finding.box, finding.confidence, aligned.landmarks, embedding)
        return JudgedFace(face, quality, refusal)

    def _opened_detector(self) -> Detector:
        if self._detector is None:
            raise RuntimeError("Eyes must be entered with `async with` before they see")
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


def _timings(started: float, decoded: float, detected: float, embedded: float) -> dict[str, float]:
    return {
        "decode": (decoded - started) * 1000,
        "detect": (detected - decoded) * 1000,
        "embed": (embedded - detected) * 1000,
    }


def _embed(embedder: Embedder, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    rows = embedder.embed(chips)
    # Stored embeddings are never looked at again, so the last look is here.
    if rows.shape != (len(chips), embedder.dimensions) or not np.allclose(
        np.linalg.norm(rows, axis=1), 1, atol=1e-3
    ):
        raise EmbeddingInvalidError
    return rows
