"""Where the model files lie, and the proof that they are the ones they should be."""

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
"""What to do about a file that a setting names."""


def model_folder() -> Path:
    """Return the folder of the installed model files, without importing their package.

    Its `__init__` needs `pkg_resources`, which new Python installations lack.

    Raises:
        ModelMissingError: the package is not installed.
    """
    spec = find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissingError(Path("face_recognition_models") / "models")
    return Path(spec.submodule_search_locations[0]) / "models"


def fetched_folder(home: Path) -> Path:
    """Return where `automatch models fetch` keeps files."""
    return home / "models"


def path_of(entry: ModelEntry, file: ModelFile, home: Path) -> Path:
    """Return where a file of *entry* lies, or will lie.

    Raises:
        ModelMissingError: the package that brings it is not installed.
    """
    return (model_folder() if entry.package else fetched_folder(home)) / file.name


def verified(name: str, folder: Path | None = None) -> Path:
    """Return the path of a model file of the package whose content has been checked.

    Args:
        name: which model it is.
        folder: where it lies, if not in its package.

    Raises:
        ModelMissingError: there is no such file.
        ModelDamagedError: its SHA-256 is not the pinned one.
    """
    path = (folder or model_folder()) / name
    read_verified(name, path)
    return path


def read_verified(name: str, path: Path | None = None) -> bytes:
    """Return the checked content of a model file; raises what `verified` raises.

    Args:
        name: which model it is.
        path: the file, if it is not the one in the package.
    """
    return read_checked(shipped_file(name), path or model_folder() / name, _REMEDIES.get(name))


def read_checked(file: ModelFile, path: Path, remedy: str | None = None) -> bytes:
    """Return the content of *path*, which is that of *file*.

    Args:
        file: what it should be.
        path: where it lies.
        remedy: what to do when it is not there or another one.

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
