"""Who looks at the photos of a worker: the seam between the worker and the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from automatch.model.faces import FaceBox
    from automatch.vision.results import FaceExtraction


class FaceAnalyzer(Protocol):
    """Extracts faces from photos, here (`LocalAnalyzer`) or by an AI service (`RemoteAnalyzer`)."""

    @property
    def model_id(self) -> str:
        """The model whose embeddings `see` gives unless told otherwise."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether it is any use to ask now."""
        ...

    async def ready(self) -> None:
        """Wait until it is."""
        ...

    async def extract(
        self,
        photo: bytes,
        chosen: FaceBox | None = None,
        *,
        model: str | None = None,
        enforce_quality: bool = True,
    ) -> FaceExtraction:
        """Return what an encoded photo shows: its one face, or the chosen one.

        Raises:
            AiUnavailableError: the service does not answer, or runs another model, which is not
                the photo's fault.
        """
        ...
