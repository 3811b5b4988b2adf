"""Looking at photos from a script or a notebook, without an event loop, a server or a database."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from automatch.settings import load_settings
from automatch.vision.embed.dlib_embedder import DlibEmbedder
from automatch.vision.local_analyzer import LocalAnalyzer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from automatch.settings import Settings
    from automatch.vision.results import PhotoAnalysis


class SyncAnalyzer:
    """Looks at photos; any number of threads may ask."""

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
        """Return the promise of what `look` gives, to keep all threads busy."""
        data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
        return self._analyzer.submit(data)


@contextmanager
def open_analyzer(settings: Settings | None = None) -> Iterator[SyncAnalyzer]:
    """Yield an analyzer with the default model, open for as long as the block lasts.

    Args:
        settings: limits and thresholds; those of the environment when left out.

    Raises:
        ModelMissingError: a model file is not there.
        ModelDamagedError: a model file is not the one it should be.
    """
    analyzer = LocalAnalyzer(settings or load_settings(), DlibEmbedder())
    analyzer.open()
    try:
        yield SyncAnalyzer(analyzer)
    finally:
        analyzer.close()
