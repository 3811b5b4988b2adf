"""One photo from its bytes to embeddings: decoded, detected, aligned, checked, embedded.

`extract` is for a photo of one person and embeds that face only; `analyze` embeds every face.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from automatch.errors.embedder import EmbeddingInvalidError
from automatch.errors.photo import PhotoRejectedError, SeveralFacesError
from automatch.vision.detect.quality import check_quality, choose_face, measure
from automatch.vision.detect.redact_faces import redact_other_faces
from automatch.vision.embed.similarity_transform import cut_chip
from automatch.vision.results import DetectedFace, FaceExtraction, FaceResult, PhotoAnalysis

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from automatch.model.faces import FaceBox
    from automatch.settings.vision import VisionSettings
    from automatch.vision.decode.decoder import DecodedPhoto, Decoder
    from automatch.vision.detect.detector import AlignedFace, Detection, Detector
    from automatch.vision.embed.embedder import Embedder


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages of one photo, in one thread; `FaceAnalyzer.extract` lists what they raise."""

    decoder: Decoder
    detector: Detector
    embedder: Embedder
    settings: VisionSettings

    def extract(
        self, photo: bytes, chosen: FaceBox | None, *, enforce_quality: bool
    ) -> FaceExtraction:
        """Return the one face of a photo, or the *chosen* one; see `FaceAnalyzer.extract`."""
        started = time.perf_counter()
        decoded = self.decoder.decode(photo)
        decoded_at = time.perf_counter()
        detections = self.detector.find(decoded.pixels)
        try:
            detection = self._choose(detections, decoded, chosen)
        except SeveralFacesError as exc:
            exc.copies = (decoded.kept_jpeg, decoded.thumbnail_jpeg)
            raise
        aligned = self.detector.align(decoded.pixels, detection)
        quality = measure(detection, aligned)
        if enforce_quality:
            check_quality(quality, self.settings)
        detected_at = time.perf_counter()
        (embedding,) = self._embed(decoded, [aligned])
        embedded_at = time.perf_counter()
        kept, thumbnail = self._copies(decoded, detection if chosen else None, detections)
        return FaceExtraction(
            face=DetectedFace(detection.box, detection.confidence, aligned.landmarks, embedding),
            quality=quality,
            kept_jpeg=kept,
            thumbnail_jpeg=thumbnail,
            timings=_timings(started, decoded_at, detected_at, embedded_at),
            detector=self.detector.name,
        )

    def analyze(self, photo: bytes, chosen: FaceBox | None) -> PhotoAnalysis:
        """Return all faces of a photo, the largest first, each with the reason to refuse it."""
        started = time.perf_counter()
        decoded = self.decoder.decode(photo)
        decoded_at = time.perf_counter()
        detections = self.detector.find(decoded.pixels)
        own, refusal = None, None
        try:
            own = self._choose(detections, decoded, chosen)
        except PhotoRejectedError as exc:
            refusal = exc
        found = sorted(detections, key=lambda detection: detection.side, reverse=True)
        aligned = [self.detector.align(decoded.pixels, detection) for detection in found]
        detected_at = time.perf_counter()
        rows = self._embed(decoded, aligned) if aligned else ()
        embedded_at = time.perf_counter()
        faces = [
            self._face_result(detection, face, row, decoded)
            for detection, face, row in zip(found, aligned, rows, strict=True)
        ]
        height, width = decoded.pixels.shape[:2]
        kept, thumbnail = self._copies(decoded, own if chosen else None, detections)
        return PhotoAnalysis(
            model_id=self.embedder.model_id,
            width=width,
            height=height,
            faces=faces,
            min_confidence=self.detector.min_confidence,
            refusal=faces[found.index(own)].refusal if own else refusal,
            kept_jpeg=kept,
            thumbnail_jpeg=thumbnail,
            timings=_timings(started, decoded_at, detected_at, embedded_at),
        )

    def _choose(
        self, detections: Sequence[Detection], decoded: DecodedPhoto, chosen: FaceBox | None = None
    ) -> Detection:
        return choose_face(detections, self.detector.min_confidence, decoded.pixels, chosen)

    def _embed(
        self, decoded: DecodedPhoto, aligned: Sequence[AlignedFace]
    ) -> npt.NDArray[np.float32]:
        chips = [cut_chip(self.embedder, decoded.pixels, face) for face in aligned]
        return embed(self.embedder, np.stack(chips))

    def _copies(
        self, decoded: DecodedPhoto, own: Detection | None, detections: Sequence[Detection]
    ) -> tuple[bytes, bytes]:
        """Return the clean copy and the thumbnail; with an *own* face, the others are redacted."""
        if own is None:
            return decoded.kept_jpeg, decoded.thumbnail_jpeg
        side = self.settings.thumbnail_side
        return redact_other_faces(decoded.pixels, own, detections, side)

    def _face_result(
        self,
        detection: Detection,
        aligned: AlignedFace,
        embedding: npt.NDArray[np.float32],
        decoded: DecodedPhoto,
    ) -> FaceResult:
        quality = measure(detection, aligned)
        refusal = None
        try:
            self._choose([detection], decoded)
            check_quality(quality, self.settings)
        except PhotoRejectedError as exc:
            refusal = exc
        face = DetectedFace(detection.box, detection.confidence, aligned.landmarks, embedding)
        return FaceResult(face, quality, refusal)


def embed(embedder: Embedder, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return an embedding for each chip.

    Raises:
        EmbeddingInvalidError: the model returned something else.
    """
    rows = embedder.embed(chips)
    # The last check: stored embeddings are never checked again.
    if rows.shape != (len(chips), embedder.dimensions) or not np.allclose(
        np.linalg.norm(rows, axis=1), 1, atol=1e-3
    ):
        raise EmbeddingInvalidError
    return rows


def _timings(started: float, decoded: float, detected: float, embedded: float) -> dict[str, float]:
    return {
        "decode": (decoded - started) * 1000,
        "detect": (detected - decoded) * 1000,
        "embed": (embedded - detected) * 1000,
    }
