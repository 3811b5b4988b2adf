"""A face analyzer for tests that are about what follows: it sees a photo once per test process."""

from __future__ import annotations

from functools import cache
from hashlib import sha256

from automatch.errors.photo import PhotoRejectedError
from automatch.model.faces import FaceBox
from automatch.settings.vision import VisionSettings
from automatch.vision import Embedder, FaceExtraction, LocalAnalyzer
from automatch.vision.detect.detector import Detector
from automatch.vision.embed.dlib_embedder import DlibEmbedder
from automatch.vision.load import open_detector

_outcomes: dict[object, FaceExtraction | PhotoRejectedError] = {}


class RememberingAnalyzer(LocalAnalyzer):
    """Gives the same photo the same result, and loads its detector once.

    To see a photo takes most of a second, and the tests send each other's photos again and again.
    """

    def _load(self) -> None:
        if type(self._embedder) is not DlibEmbedder:
            super()._load()
            return
        self._detector = _open_detector(self._settings.vision.model_dump_json())

    def _extract(
        self, photo: bytes, chosen: FaceBox | None, embedder: Embedder, enforce_quality: bool
    ) -> FaceExtraction:
        # What a test has changed is asked again each time.
        if type(embedder) is not DlibEmbedder:
            return super()._extract(photo, chosen, embedder, enforce_quality)
        rules = (self._settings.vision.model_dump_json(), self._settings.upload.model_dump_json())
        key = (sha256(photo).digest(), chosen, enforce_quality, rules)
        if key not in _outcomes:
            try:
                _outcomes[key] = super()._extract(photo, chosen, embedder, enforce_quality)
            except PhotoRejectedError as error:
                _outcomes[key] = error
        outcome = _outcomes[key]
        if isinstance(outcome, PhotoRejectedError):
            raise outcome.with_traceback(None)
        return outcome


@cache
def _open_detector(vision: str) -> Detector:
    return open_detector(VisionSettings.model_validate_json(vision))
