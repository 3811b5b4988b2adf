"""One photo from its bytes to embeddings: decoded, detected, aligned, checked, embedded.

`extract` is for a photo of one person and embeds that face only; `analyze` embeds every face.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from automatch.errors.embedder import EmbeddingInvalidError
from automatch.errors.photo import PhotoRejectedError, RefusedPicture, SeveralFacesError
from automatch.vision.detect.detector import eye_centres, surest_first, without_known
from automatch.vision.detect.photo_copies import (
    kept_copy,
    place_eyes,
    portrait,
    redacted,
    thumbnail,
)
from automatch.vision.detect.quality import check_quality, choose_face, measure
from automatch.vision.detect.upright import find_upright, is_upright, rotated
from automatch.vision.embed.similarity_transform import cut_chip
from automatch.vision.results import DetectedFace, FaceExtraction, FaceResult, PhotoAnalysis

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from automatch.model.faces import FaceBox
    from automatch.settings.vision import VisionSettings
    from automatch.vision.decode.decoder import Decoder
    from automatch.vision.detect.detector import AlignedFace, Detection, Detector
    from automatch.vision.embed.embedder import Embedder


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages of one photo; `FaceAnalyzer.extract` lists what they raise."""

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
        found = self._find(decoded)
        own = None
        try:
            own = self._choose(found.detections, found.pixels, chosen)
            aligned = self.detector.align(found.pixels, own)
            quality = measure(own, aligned)
            if enforce_quality:
                check_quality(quality, self.settings)
        except SeveralFacesError as exc:
            exc.copies = self._copies(found, None)
            raise
        except PhotoRejectedError as exc:
            if own or chosen is None:
                exc.picture = self._picture(decoded, found, own)
            raise
        detected_at = time.perf_counter()
        # One beside the other, on a second core if there is one: somebody may be waiting.
        with ThreadPoolExecutor(1) as beside:
            copies = beside.submit(self._copies, found, own)
            (embedding,) = self._embed(found.pixels, [aligned])
            embedded_at = time.perf_counter()
            kept, thumbnail = copies.result()
        face = self._face(own, aligned, embedding)
        height, width = found.pixels.shape[:2]
        return FaceExtraction(
            face=face,
            quality=quality,
            kept_jpeg=kept,
            thumbnail=thumbnail,
            timings_ms=_timings_ms(started, decoded_at, detected_at, embedded_at),
            eyes=place_eyes((width, height), own, face.eyes),
            detector=self.detector.name,
        )

    def analyze(self, photo: bytes, chosen: FaceBox | None) -> PhotoAnalysis:
        """Return all faces of a photo, the largest first, each with the reason to refuse it."""
        started = time.perf_counter()
        decoded = self.decoder.decode(photo)
        decoded_at = time.perf_counter()
        found = self._find(decoded)
        own, refusal = None, None
        try:
            own = self._choose(found.detections, found.pixels, chosen)
        except PhotoRejectedError as exc:
            refusal = exc
        largest_first = sorted(found.detections, key=lambda face: face.side, reverse=True)
        aligned = [self.detector.align(found.pixels, face) for face in largest_first]
        detected_at = time.perf_counter()
        rows = self._embed(found.pixels, aligned) if aligned else ()
        embedded_at = time.perf_counter()
        faces = [
            self._face_result(detection, face, row, found.pixels)
            for detection, face, row in zip(largest_first, aligned, rows, strict=True)
        ]
        height, width = found.pixels.shape[:2]
        kept, thumbnail = self._copies(found, own)
        return PhotoAnalysis(
            model_id=self.embedder.model_id,
            width=width,
            height=height,
            faces=faces,
            min_confidence=self.detector.min_confidence,
            refusal=faces[largest_first.index(own)].refusal if own else refusal,
            kept_jpeg=kept,
            thumbnail=thumbnail,
            timings_ms=_timings_ms(started, decoded_at, detected_at, embedded_at),
        )

    def _find(self, decoded: npt.NDArray[np.uint8]) -> _FoundFaces:
        """Return the photo upright and every face in it, those in the background too."""
        least_side = self.settings.min_face_side
        # Of a large photo this search is made in any case, and mostly leaves nothing to search.
        everybody = self.detector.find_all(decoded, least_side)
        if is_upright(self.detector, everybody):
            return _FoundFaces(decoded, turned=False, detections=everybody)
        quarter_turns, detections = find_upright(self.detector, decoded)
        pixels = rotated(decoded, quarter_turns)
        if detections:
            least = self.detector.min_confidence
            known = [face for face in detections if face.confidence >= least]
            if quarter_turns:
                everybody = self.detector.find_all(pixels, least_side)
            more = without_known(everybody, known)
            # A closer look may be sure of what was only a guess.
            detections = surest_first([*without_known(detections, more), *more])
        return _FoundFaces(pixels, quarter_turns != 0, detections)

    def _choose(
        self,
        detections: Sequence[Detection],
        pixels: npt.NDArray[np.uint8],
        chosen: FaceBox | None = None,
    ) -> Detection:
        return choose_face(
            detections,
            self.detector.min_confidence,
            pixels,
            chosen,
            min_side=self.settings.min_face_side,
        )

    def _embed(
        self, pixels: npt.NDArray[np.uint8], aligned: Sequence[AlignedFace]
    ) -> npt.NDArray[np.float32]:
        chips = [cut_chip(self.embedder, pixels, face) for face in aligned]
        return embed(self.embedder, np.stack(chips))

    def _copies(self, found: _FoundFaces, own: Detection | None) -> tuple[bytes, bytes]:
        """Return the kept copy and the thumbnail; with a face of its *own*, without the others."""
        side = self.settings.thumbnail_side
        page = Image.fromarray(found.pixels)
        page = (redacted(page, own, found.detections) if own else None) or page
        return kept_copy(page), portrait(page, own, side) if own else thumbnail(page, side)

    def _picture(
        self, decoded: npt.NDArray[np.uint8], found: _FoundFaces, own: Detection | None
    ) -> RefusedPicture | None:
        """Return the picture of a refused photo, with the face of its own or what may be one."""
        at_fault = own or next(iter(found.detections), None)
        if own is None and found.turned:
            # What may be a face says nothing about which side is up.
            if len(found.detections) > 1:
                return None
            found, at_fault = _FoundFaces(decoded, turned=False, detections=()), None
        kept, small = self._copies(found, at_fault)
        height, width = found.pixels.shape[:2]
        face = at_fault.box.shares_of(width, height) if at_fault else None
        return RefusedPicture(kept, small, width, height, face)

    def _face_result(
        self,
        detection: Detection,
        aligned: AlignedFace,
        embedding: npt.NDArray[np.float32],
        pixels: npt.NDArray[np.uint8],
    ) -> FaceResult:
        quality = measure(detection, aligned)
        refusal = None
        try:
            self._choose([detection], pixels)
            check_quality(quality, self.settings)
        except PhotoRejectedError as exc:
            refusal = exc
        return FaceResult(self._face(detection, aligned, embedding), quality, refusal)

    def _face(
        self, detection: Detection, aligned: AlignedFace, embedding: npt.NDArray[np.float32]
    ) -> DetectedFace:
        return DetectedFace(
            detection.box,
            detection.confidence,
            aligned.landmarks,
            embedding,
            aligned.yaw_degrees,
            eye_centres(aligned.landmarks, self.detector.landmark_set),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _FoundFaces:
    """A photo turned upright, with what may be a face in it."""

    pixels: npt.NDArray[np.uint8]
    turned: bool
    """Whether it lay on its side or head."""
    detections: Sequence[Detection]
    """The most certain first, those in the background among them."""


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


def _timings_ms(
    started: float, decoded: float, detected: float, embedded: float
) -> dict[str, float]:
    return {
        "decode": (decoded - started) * 1000,
        "detect": (detected - decoded) * 1000,
        "embed": (embedded - detected) * 1000,
    }
