"""Paths of the model files, and the check of their SHA-256."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from automatch.errors.embedder import ModelDamagedError, ModelMissingError
from automatch.vision.models.registry import shipped_file

if TYPE_CHECKING:
    from automatch.vision.models.registry import ModelEntry, ModelFile

FACE_RESNET = "dlib_face_recognition_resnet_model_v1.dat"
FIVE_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
YUNET = "face_detection_yunet_2023mar.onnx"

_REMEDIES = {
    YUNET: "put the original there, or take AUTOMATCH_VISION__YUNET_FILE away to do without it"
}
"""The remedies in the errors about files that a setting names."""


def model_folder() -> Path:
    """Return the folder of the installed model files, without importing their package.

    That costs nothing when no model is read, and runs none of its code.

    Raises:
        ModelMissingError: the package is not installed.
    """
    spec = find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissingError(Path("face_recognition_models") / "models")
    return Path(spec.submodule_search_locations[0]) / "models"


def fetched_folder(data_dir: Path) -> Path:
    """Return the folder of `automatch models fetch`."""
    return data_dir / "models"


def path_of(entry: ModelEntry, file: ModelFile, data_dir: Path) -> Path:
    """Return the path of a file of *entry*, which need not exist.

    Raises:
        ModelMissingError: the package that brings it is not installed.
    """
    return (model_folder() if entry.package else fetched_folder(data_dir)) / file.name


def verified(name: str, folder: Path | None = None) -> Path:
    """Return the path of a model file of the package, after checking its content.

    Args:
        name: of the file.
        folder: its folder, if not that of the package.

    Raises:
        ModelMissingError: there is no such file.
        ModelDamagedError: its SHA-256 is not the pinned one.
    """
    path = (folder or model_folder()) / name
    read_verified(name, path)
    return path


def read_verified(name: str, path: Path | None = None) -> bytes:
    """Return the checked content of a model file; see `verified` for errors.

    Args:
        name: of the file.
        path: its path, if not in the package.
    """
    return read_checked(shipped_file(name), path or model_folder() / name, _REMEDIES.get(name))


def read_checked(file: ModelFile, path: Path, remedy: str | None = None) -> bytes:
    """Return the content of *path* if it is that of *file*.

    Args:
        file: the expected file.
        path: the path to read.
        remedy: for the error message.

    Raises:
        ModelMissingError: there is no such file.
        ModelDamagedError: its SHA-256 is not the pinned one.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ModelMissingError(path, remedy) from exc
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise ModelDamagedError(path, remedy)
    return data
