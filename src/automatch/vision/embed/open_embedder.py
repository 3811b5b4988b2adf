"""The embedder of a model, by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automatch.errors.embedder import ModelUnfitError
from automatch.vision.embed.dlib_embedder import DlibEmbedder
from automatch.vision.embed.onnx_embedder import OnnxEmbedder
from automatch.vision.models.registry import find_entry, load_registry

if TYPE_CHECKING:
    from pathlib import Path

    from automatch.vision.embed.embedder import Embedder


def open_embedder(model: str, home: Path) -> Embedder:
    """Return the embedder of a model of the registry; its file is read on first use.

    Raises:
        ModelsFileError: the operator's entries have a mistake.
        ModelUnknownError: there is no such model.
        ModelUnfitError: it is no embedder.
    """
    entry = find_entry(load_registry(home), model)
    if entry.purpose != "embedder":
        raise ModelUnfitError(f"{model} finds faces and does not compare them.")
    return DlibEmbedder() if entry.runs_as == "dlib" else OnnxEmbedder(entry, home)
