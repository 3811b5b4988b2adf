"""Whether a model of the registry is here, whole, and works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from automatch.vision.embed.open_embedder import open_embedder
from automatch.vision.local_analyzer import open_detector
from automatch.vision.models.model_files import path_of, read_checked

if TYPE_CHECKING:
    from automatch.settings import Settings
    from automatch.vision.models.registry import ModelEntry


def try_model(entry: ModelEntry, settings: Settings) -> None:
    """Check the files of a model, and use it once.

    Raises:
        EmbedderError: a file is missing or damaged, or the model does not keep its promise.
    """
    for file in entry.files:
        remedy = f"reinstall {entry.package}" if entry.package else None
        remedy = remedy or f"run `automatch models fetch {entry.name}`"
        read_checked(file, path_of(entry, file, settings.home), remedy)
    if entry.purpose == "embedder":
        embedder = open_embedder(entry.name, settings.home)
        side = embedder.chip_side
        embedder.embed(np.full((2, side, side, 3), 128, np.uint8))
    else:
        path = path_of(entry, entry.files[0], settings.home)
        detector = open_detector(settings.vision.model_copy(update={"yunet_file": path}))
        detector.find(np.full((64, 64, 3), 128, np.uint8))
