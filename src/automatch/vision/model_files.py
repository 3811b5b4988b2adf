"""Where the model files lie, and the proof that they are the ones they should be."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from automatch.errors import ModelDamagedError, ModelMissingError

# Public domain (CC0), from the package face_recognition_models. Its file of 68 landmarks is not
# among them: that one's training data excludes commercial use.
FACE_RESNET = "dlib_face_recognition_resnet_model_v1.dat"
FIVE_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
# Apache-2.0, from libfacedetection by way of the OpenCV Zoo. The operator brings it.
YUNET = "face_detection_yunet_2023mar.onnx"

_SHA256 = {
    FACE_RESNET: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    FIVE_LANDMARKS: "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    YUNET: "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
}

_REMEDIES = {
    YUNET: "put the original there, or take AUTOMATCH_VISION__YUNET_FILE away to do without it"
}
"""What to do about a file that no package brings."""


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
    path = path or model_folder() / name
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ModelMissingError(path, _REMEDIES.get(name)) from exc
    if hashlib.sha256(data).hexdigest() != _SHA256[name]:
        raise ModelDamagedError(path, _REMEDIES.get(name))
    return data
