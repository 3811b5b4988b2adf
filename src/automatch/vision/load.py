"""Opens the embedders and detectors of the registry, and checks that they work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from automatch.errors.embedder import ModelUnfitError
from automatch.vision.embed.dlib_embedder import DlibEmbedder
from automatch.vision.embed.onnx_embedder import OnnxEmbedder
from automatch.vision.models.model_files import path_of, read_checked
from automatch.vision.models.registry import find_entry, load_registry

if TYPE_CHECKING:
    from pathlib import Path

    from automatch.settings import Settings
    from automatch.settings.vision import VisionSettings
    from automatch.vision.detect.detector import Detector
    from automatch.vision.embed.embedder import Embedder
    from automatch.vision.models.registry import ModelEntry


def open_embedder(model: str, data_dir: Path) -> Embedder:
    """Return the embedder of a model of the registry; its file is read on first use.

    Raises:
        ModelsFileError: the operator's entries have a mistake.
        ModelUnknownError: there is no such model.
        ModelUnfitError: it is no embedder.
    """
    entry = find_entry(load_registry(data_dir), model)
    if entry.purpose != "embedder":
        raise ModelUnfitError(f"{model} finds faces and does not compare them.")
    if entry.runs_as == "dlib":
        return DlibEmbedder(data_dir=data_dir)
    return OnnxEmbedder(entry, data_dir)


def open_detector(vision: VisionSettings) -> Detector:
    """Return the detector that *vision* asks for, its model loaded.

    Raises:
        ModelMissingError: a model file is not there.
        ModelDamagedError: a model file is not the one it should be.
    """
    # Where no model runs, neither dlib nor onnxruntime is imported.
    if vision.yunet_file:
        from automatch.vision.detect.yunet_detector import YunetDetector

        return YunetDetector(vision.yunet_file, vision.detect_side, vision.yunet_min_confidence)
    from automatch.vision.detect.hog_detector import HogDetector

    return HogDetector(vision.detect_side, vision.hog_min_confidence)


def check_compatible(embedder: Embedder, detector: Detector) -> None:
    """Make sure that *detector* finds the landmarks by which *embedder* has faces aligned.

    Raises:
        ModelUnfitError: it does not.
    """
    if embedder.alignment == "arcface" and detector.landmark_set != "eyes_nose_mouth":
        raise ModelUnfitError(
            f"The model {embedder.model_id} needs the corners of the mouth, and dlib's detector "
            "does not find them. Fetch YuNet (`automatch models fetch yunet`) and set "
            "AUTOMATCH_VISION__YUNET_FILE to its file."
        )


def check_model(entry: ModelEntry, settings: Settings) -> None:
    """Check the files of a model and run it once; nothing is written.

    Raises:
        EmbedderError: a file is missing or damaged, or the model returns no valid embedding.
    """
    for file in entry.files:
        remedy = f"reinstall {entry.package}" if entry.package else None
        remedy = remedy or f"run `automatch models fetch {entry.name}`"
        read_checked(file, path_of(entry, file, settings.home), remedy)
    if entry.purpose == "embedder":
        # Without the data folder, dlib's model is converted from its own file and not kept.
        embedder = DlibEmbedder() if entry.runs_as == "dlib" else OnnxEmbedder(entry, settings.home)
        side = embedder.chip_side
        embedder.embed(np.full((2, side, side, 3), 128, np.uint8))
    else:
        path = path_of(entry, entry.files[0], settings.home)
        detector = open_detector(settings.vision.model_copy(update={"yunet_file": path}))
        detector.find(np.full((64, 64, 3), 128, np.uint8))
